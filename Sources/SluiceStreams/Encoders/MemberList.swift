import SluiceBytes

/// The members of a JSON object that are known: puts the commas between them. The braces are the caller's.
struct MemberList {
    private var isEmpty = true

    /// The name of a member whose value is written next.
    mutating func name(_ name: StaticString, into out: inout ByteQueue) {
        if !isEmpty { out.append(ASCII.comma) }
        isEmpty = false
        out.append(ASCII.quote)
        out.append(name)
        out.append("\":")
    }

    /// A figure; an unknown one is absent.
    mutating func append(_ name: StaticString, _ value: Int?, into out: inout ByteQueue) {
        guard let value else { return }
        self.name(name, into: &out)
        out.append(decimal: value)
    }

    /// A word that needs no escapes.
    mutating func append(_ name: StaticString, word: StaticString, into out: inout ByteQueue) {
        self.name(name, into: &out)
        out.append(ASCII.quote)
        out.append(word)
        out.append(ASCII.quote)
    }
}
