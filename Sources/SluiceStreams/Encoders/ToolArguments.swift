import SluiceBytes

/// A tool call's arguments where a format wants an object, and the provider sent the text of one.
///
/// The model wrote that text, so nothing in it is believed: it is read as JSON and written anew, with numbers as
/// they stand.
enum ToolArguments {
    /// Appends the object; false, and nothing appended, if the text is none (cut by the token limit, mostly). No
    /// text at all is an object with no members.
    static func append(_ text: [UInt8], into out: inout ByteQueue) -> Bool {
        if !text.contains(where: { $0 > ASCII.space }) || ASCII.equal(text.span, "null") {
            out.append("{}")
            return true
        }
        guard let value = JSONValue.parse(text), case .object = value, hasPlainNumbers(value) else { return false }
        write(value, into: &out)
        return true
    }

    static func isObject(_ text: [UInt8]) -> Bool {
        var scratch = ByteQueue()
        return append(text, into: &scratch)
    }

    /// JSON has no leading zeros, which the scanner lets pass.
    private static func hasPlainNumbers(_ value: JSONValue) -> Bool {
        switch value {
        case .number(let text):
            let digits = text.utf8.drop { $0 == UInt8(ascii: "-") }.prefix(2)
            return !(digits.count == 2 && digits.first == 0x30 && digits.last.map(ASCII.isDigit) == true)
        case .array(let elements): return elements.allSatisfy(hasPlainNumbers)
        case .object(let members): return members.allSatisfy { hasPlainNumbers($0.value) }
        case .null, .bool, .string: return true
        }
    }

    private static func write(_ value: JSONValue, into out: inout ByteQueue) {
        switch value {
        case .string(let string):
            if string.raw.allSatisfy({ $0 >= ASCII.space && $0 < 0x80 && $0 != ASCII.backslash }) {
                return value.append(to: &out)
            }
            let text: [UInt8] = .written { string.appendText(to: &$0) }
            JSONText.appendQuoted(text.span, into: &out)
        case .array(let elements):
            out.append(ASCII.leftBracket)
            for (index, element) in elements.enumerated() {
                if index > 0 { out.append(ASCII.comma) }
                write(element, into: &out)
            }
            out.append(ASCII.rightBracket)
        case .object(let members):
            out.append(ASCII.leftBrace)
            for (index, member) in members.enumerated() {
                if index > 0 { out.append(ASCII.comma) }
                JSONText.appendQuoted(member.key, into: &out)
                out.append(ASCII.colon)
                write(member.value, into: &out)
            }
            out.append(ASCII.rightBrace)
        case .null, .bool, .number: value.append(to: &out)
        }
    }
}

/// Tool calls that are held until they are whole, for formats that have no fragments of arguments. Bounded in all.
struct HeldCalls {
    /// Far more than a model can write.
    static let byteLimit = 8 << 20

    struct Call {
        let choice: Int
        let index: Int
        let id: [UInt8]
        let name: [UInt8]
        var arguments: [UInt8] = []
    }
    private var calls: [Call] = []
    private var byteCount = 0

    var isOverLimit: Bool { byteCount > Self.byteLimit }

    mutating func start(choice: Int, index: Int, id: Span<UInt8>, name: Span<UInt8>) {
        byteCount &+= id.count &+ name.count
        guard !isOverLimit else { return }
        calls.append(Call(choice: choice, index: index, id: Array(copying: id), name: Array(copying: name)))
    }

    mutating func append(choice: Int, index: Int, _ fragment: Span<UInt8>) {
        byteCount &+= fragment.count
        guard !isOverLimit, let position = position(choice, index) else { return }
        calls[position].arguments.append(fragment)
    }

    /// The call, which is then forgotten.
    mutating func take(choice: Int, index: Int) -> Call? {
        guard let position = position(choice, index) else { return nil }
        let call = calls.remove(at: position)
        byteCount &-= call.id.count &+ call.name.count &+ call.arguments.count
        return call
    }

    /// Those that nobody has ended.
    mutating func takeAll() -> [Call] {
        defer { (calls, byteCount) = ([], 0) }
        return calls
    }

    private func position(_ choice: Int, _ index: Int) -> Int? {
        calls.firstIndex { $0.choice == choice && $0.index == index }
    }
}
