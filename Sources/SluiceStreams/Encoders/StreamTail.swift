import SluiceBytes

/// What a stream of Sluice's own formats says at its end: finish reason, usage, or an error.
struct StreamTail {
    private var finish: FinishReason?
    private var hasRefused = false
    private var usage: Usage?
    private var error: (kind: StreamErrorKind, message: [UInt8], type: [UInt8])?
    private(set) var hasNewError = false
    private(set) var hasFailed = false

    /// Keeps what belongs at the end.
    mutating func note(_ event: TokenEvent, _ batch: borrowing EventBatch) {
        switch event {
        case .finish(choice: 0, let reason, _): finish = reason
        case .usage(let counts): usage = counts
        case .error(let kind, let message, let type, _):
            guard !hasFailed, error == nil else { return }
            error = (kind, Self.copy(batch.bytes(message)), Self.copy(batch.bytes(type)))
            hasNewError = true
        default: break
        }
    }

    /// For a format that shows a refusal as text: that it was one is told by the finish reason.
    mutating func noteRefusal() { hasRefused = true }

    private static func copy(_ bytes: Span<UInt8>) -> [UInt8] { bytes.withUnsafeBufferPointer { Array($0) } }

    /// The members `"done":true,"finish_reason":…,"usage":…`; what is unknown is absent.
    func writeEnd(into out: inout ByteQueue) {
        out.append("\"done\":true")
        if let finish {
            out.append(",\"finish_reason\":\"")
            out.append(finish.told(hasRefused: hasRefused).word)
            out.append("\"")
        }
        if let usage {
            out.append(",\"usage\":{")
            var isFirst = true
            Self.write("input_tokens", usage.input, &isFirst, into: &out)
            Self.write("output_tokens", usage.output, &isFirst, into: &out)
            Self.write("cached_tokens", usage.cached, &isFirst, into: &out)
            Self.write("reasoning_tokens", usage.reasoning, &isFirst, into: &out)
            out.append("}")
        }
    }

    private static func write(_ name: StaticString, _ value: Int?, _ isFirst: inout Bool, into out: inout ByteQueue) {
        guard let value else { return }
        if !isFirst { out.append(",") }
        isFirst = false
        out.append("\"")
        out.append(name)
        out.append("\":")
        out.append(decimal: value)
    }

    /// The provider's own error. `prefix` writes what stands before the object, `terminator` what stands behind it.
    mutating func writeError(
        into out: inout ByteQueue, terminator: StaticString = "\n\n", prefix: (inout ByteQueue) -> Void
    ) {
        guard let error, hasNewError else { return }
        hasNewError = false
        hasFailed = true
        prefix(&out)
        Self.writeObject(error.message.span, error.type.span, error.kind, into: &out)
        out.append(terminator)
    }

    /// A failure that the proxy found, unless an error has been told already.
    mutating func write(
        _ failure: StreamFailure, into out: inout ByteQueue, terminator: StaticString = "\n\n",
        prefix: (inout ByteQueue) -> Void
    ) {
        guard !hasFailed else { return }
        hasFailed = true
        prefix(&out)
        let (message, type) = (Array(failure.message.utf8), [UInt8]())
        Self.writeObject(message.span, type.span, failure.kind, into: &out)
        out.append(terminator)
    }

    /// `{"error":{"message":…,"type":…}}`.
    private static func writeObject(
        _ message: Span<UInt8>, _ type: Span<UInt8>, _ kind: StreamErrorKind, into out: inout ByteQueue
    ) {
        out.append("{\"error\":{\"message\":")
        JSONText.appendQuoted(message, into: &out)
        out.append(",\"type\":")
        if type.isEmpty {
            out.append("\"")
            out.append(kind.word)
            out.append("\"")
        } else {
            JSONText.appendQuoted(type, into: &out)
        }
        out.append("}}")
    }
}
