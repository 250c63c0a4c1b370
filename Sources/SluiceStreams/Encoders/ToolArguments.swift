import SluiceBytes

/// A tool call's arguments where a format wants an object, and the provider sent the text of one.
///
/// The model wrote that text, so nothing in it is believed: it is checked to the letter before it becomes a part of a
/// document.
enum ToolArguments {
    /// Appends the object; false, and nothing appended, if the text is none (cut by the token limit, mostly). No
    /// text at all is an object with no members.
    static func append(_ text: [UInt8], into out: inout ByteQueue) -> Bool {
        if !text.contains(where: { $0 > ASCII.space }) || ASCII.equal(text.span, "null") {
            out.append("{}")
            return true
        }
        guard JSONGrammar.isObject(text.span) else { return false }
        JSONText.appendCompact(text.span, into: &out)
        return true
    }

    static func isObject(_ text: [UInt8]) -> Bool {
        !text.contains { $0 > ASCII.space } || ASCII.equal(text.span, "null") || JSONGrammar.isObject(text.span)
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
