import SluiceBytes

/// What an answer is called: its id, model and time. The provider's own where it gave them, else those of the options.
struct AnswerHead {
    private(set) var id: [UInt8]
    private(set) var model: [UInt8]
    private(set) var created: Int

    init(_ options: EncoderOptions) {
        (id, model, created) = (Array(options.id.utf8), Array(options.model.utf8), options.created)
    }

    mutating func take(_ id: Span<UInt8>, _ model: Span<UInt8>, _ created: Int?) {
        if !id.isEmpty { self.id = Array(copying: id) }
        if !model.isEmpty { self.model = Array(copying: model) }
        if let created { self.created = created }
    }

    /// `{"id":…,"object":…,"created":…,"model":…`: how all of OpenAI's objects begin.
    func openObject(_ kind: StaticString, into out: inout ByteQueue) {
        out.append("{\"id\":")
        JSONText.appendQuoted(id.span, into: &out)
        out.append(",\"object\":\"")
        out.append(kind)
        out.append("\",\"created\":")
        out.append(decimal: created)
        out.append(",\"model\":")
        JSONText.appendQuoted(model.span, into: &out)
    }

    /// A tool call's id, quoted; made of the answer's own where the provider gave none.
    func appendCallID(_ given: Span<UInt8>, prefix: StaticString, index: Int, into out: inout ByteQueue) {
        guard given.isEmpty else { return JSONText.appendQuoted(given, into: &out) }
        out.append(ASCII.quote)
        out.append(prefix)
        JSONText.appendEscaped(id.span, into: &out)
        out.append("_")
        out.append(decimal: index)
        out.append(ASCII.quote)
    }
}

/// The members of one JSON object: a comma between them, and nothing for a figure that is unknown.
struct MemberWriter {
    private var isFirst = true

    mutating func key(_ name: StaticString, into out: inout ByteQueue) {
        out.append(isFirst ? "\"" as StaticString : ",\"")
        isFirst = false
        out.append(name)
        out.append("\":")
    }

    mutating func number(_ name: StaticString, _ value: Int?, into out: inout ByteQueue) {
        guard let value else { return }
        key(name, into: &out)
        out.append(decimal: value)
    }

    mutating func string(_ name: StaticString, _ value: Span<UInt8>, into out: inout ByteQueue) {
        key(name, into: &out)
        JSONText.appendQuoted(value, into: &out)
    }
}

/// Events that have a name, which their data repeats as `type`: Anthropic's, OpenAI's responses, Cohere's.
enum NamedEvent {
    /// Up to the members behind `type`.
    static func open(_ type: StaticString, into out: inout ByteQueue) {
        out.append("event: ")
        out.append(type)
        out.append("\ndata: {\"type\":\"")
        out.append(type)
        out.append("\"")
    }

    static func close(into out: inout ByteQueue) { out.append("}\n\n") }
}

extension Array where Element == UInt8 {
    init(copying bytes: Span<UInt8>) { self = bytes.withUnsafeBufferPointer { Array($0) } }

    mutating func append(_ bytes: Span<UInt8>) {
        bytes.withUnsafeBufferPointer { append(contentsOf: $0) }
    }

    /// What `body` writes: for the constant parts of events, which are made once.
    static func written(_ body: (inout ByteQueue) -> Void) -> [UInt8] {
        var out = ByteQueue()
        body(&out)
        return out.withUnsafeBytes { Array($0) }
    }
}
