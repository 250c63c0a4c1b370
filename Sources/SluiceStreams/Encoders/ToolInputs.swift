import SluiceBytes

/// The tool calls of choice 0, for formats that name a call in each of its parts and want its arguments whole at its end.
struct ToolInputs {
    /// What the arguments of an answer's calls may add up to. Those that grow past it are streamed but never told whole.
    static let byteLimit = 16 << 20

    /// Ids and names are JSON strings, with their quotes.
    struct Call {
        let id: [UInt8]
        let name: [UInt8]
        var arguments: [UInt8] = []
        var isOverLimit = false
        var hasEnded = false
    }
    private(set) var calls: [Call] = []
    private var byteCount = 0

    /// Adds the call and says what it is called.
    mutating func open(_ index: Int, id: Span<UInt8>, name: Span<UInt8>, ownID: String) -> Call {
        let known = calls
        let quotedID = ToolCallID.quoted(id, index, ownID: ownID) { id in known.contains { $0.id == id } }
        var quotedName = ByteQueue()
        JSONText.appendQuoted(name, into: &quotedName)
        let call = Call(id: quotedID, name: quotedName.withUnsafeBytes { Array($0) })
        calls.append(call)
        return call
    }

    /// Whether the call is known and goes on.
    func isOpen(_ index: Int) -> Bool { calls.indices.contains(index) && !calls[index].hasEnded }

    mutating func append(_ fragment: Span<UInt8>, to index: Int) {
        guard isOpen(index), !calls[index].isOverLimit else { return }
        guard byteCount + fragment.count <= Self.byteLimit else {
            byteCount -= calls[index].arguments.count
            calls[index].arguments = []
            calls[index].isOverLimit = true
            return
        }
        byteCount += fragment.count
        fragment.withUnsafeBufferPointer { calls[index].arguments.append(contentsOf: $0) }
    }

    /// Ends the call and hands out its arguments; nil if they are not known as a whole. What they are is for the caller to check.
    mutating func close(_ index: Int) -> [UInt8]? {
        guard isOpen(index) else { return nil }
        calls[index].hasEnded = true
        var arguments: [UInt8] = []
        swap(&arguments, &calls[index].arguments)
        byteCount -= arguments.count
        if calls[index].isOverLimit { return nil }
        // No arguments at all are an empty object for everybody who wants one.
        let isBlank = arguments.allSatisfy { $0 == ASCII.space || $0 == ASCII.lf || $0 == ASCII.cr || $0 == ASCII.tab }
        return isBlank ? [ASCII.leftBrace, ASCII.rightBrace] : arguments
    }
}

/// How a tool call is called where the provider's own id cannot be used.
enum ToolCallID {
    /// The provider's id as a JSON string; `call_<own id>_<index>` if it gave none, or one that another call has.
    static func quoted(
        _ id: Span<UInt8>, _ index: Int, ownID: String, isTaken: ([UInt8]) -> Bool
    ) -> [UInt8] {
        var out = ByteQueue()
        if !id.isEmpty {
            JSONText.appendQuoted(id, into: &out)
            let quoted = out.withUnsafeBytes { Array($0) }
            if !isTaken(quoted) { return quoted }
            out.removeAll()
        }
        out.append("\"call_")
        JSONText.appendEscaped(Array(ownID.utf8).span, into: &out)
        out.append("_")
        out.append(decimal: index)
        out.append("\"")
        return out.withUnsafeBytes { Array($0) }
    }
}
