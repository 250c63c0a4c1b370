import SluiceBytes

/// Where a document is written: a queue of bytes that leave soon, or an array that is kept.
protocol JSONSink: ~Copyable {
    mutating func put(_ byte: UInt8)
    mutating func put(_ literal: StaticString)
    mutating func put(_ text: String)
    mutating func put(_ raw: ArraySlice<UInt8>)
}

extension ByteQueue: JSONSink {
    mutating func put(_ byte: UInt8) { append(byte) }
    mutating func put(_ literal: StaticString) { append(literal) }
    mutating func put(_ text: String) { append(text) }
    mutating func put(_ raw: ArraySlice<UInt8>) { append(raw.span) }
}

extension [UInt8]: JSONSink {
    mutating func put(_ byte: UInt8) { append(byte) }
    mutating func put(_ literal: StaticString) {
        append(contentsOf: UnsafeBufferPointer(start: literal.utf8Start, count: literal.utf8CodeUnitCount))
    }
    mutating func put(_ text: String) { append(contentsOf: text.utf8) }
    mutating func put(_ raw: ArraySlice<UInt8>) { append(contentsOf: raw) }
}

// MARK: - A tree as text

extension JSONValue {
    public func append(to out: inout ByteQueue) { write(to: &out) }

    /// The document in one allocation of its own size.
    public func serialized() -> [UInt8] {
        var out: [UInt8] = []
        out.reserveCapacity(estimatedSize)
        write(to: &out)
        return out
    }

    /// At least what the document takes, unless a key holds characters that are escaped.
    private var estimatedSize: Int {
        switch self {
        case .null, .bool: 5
        case .number(let text): text.utf8.count
        case .string(let string): string.raw.count &+ 2
        case .pieces(let pieces): pieces.reduce(2) { $0 &+ $1.raw.count }
        case .array(let elements): elements.reduce(2) { $0 &+ $1.estimatedSize &+ 1 }
        case .object(let members): members.reduce(2) { $0 &+ $1.key.utf8.count &+ $1.value.estimatedSize &+ 4 }
        }
    }

    private func write<Sink: JSONSink & ~Copyable>(to out: inout Sink) {
        switch self {
        case .null: out.put("null" as StaticString)
        case .bool(let flag): out.put(flag ? "true" as StaticString : "false")
        case .number(let text): out.put(text)
        case .string(let string): Self.write([string], to: &out)
        case .pieces(let pieces): Self.write(pieces, to: &out)
        case .array(let elements):
            out.put(ASCII.leftBracket)
            for (index, element) in elements.enumerated() {
                if index > 0 { out.put(ASCII.comma) }
                element.write(to: &out)
            }
            out.put(ASCII.rightBracket)
        case .object(let members):
            out.put(ASCII.leftBrace)
            for (index, member) in members.enumerated() {
                if index > 0 { out.put(ASCII.comma) }
                Self.write([JSONString(member.key)], to: &out)
                out.put(ASCII.colon)
                member.value.write(to: &out)
            }
            out.put(ASCII.rightBrace)
        }
    }

    private static func write<Sink: JSONSink & ~Copyable>(_ pieces: [JSONString], to out: inout Sink) {
        out.put(ASCII.quote)
        for piece in pieces { out.put(piece.raw) }
        out.put(ASCII.quote)
    }
}
