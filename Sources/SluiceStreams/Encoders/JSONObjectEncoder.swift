import SluiceBytes

/// `sse-json` and `ndjson`: one JSON object an event. `{"text"}`, `{"reasoning"}`, `{"tool_call":{…}}`, at the end
/// `{"done":true,"finish_reason":…,"usage":…}`, at a failure `{"error":{"message","type"}}`.
///
/// Choices other than 0 carry `"choice":n`.
struct JSONObjectEncoder: StreamEncoder {
    enum Framing { case sse, lines }
    private let framing: Framing
    private var tail = StreamTail()

    init(_ framing: Framing) { self.framing = framing }

    var contentType: StaticString {
        switch framing {
        case .sse: "text/event-stream"
        case .lines: "application/x-ndjson"
        }
    }

    mutating func encode(_ batch: borrowing EventBatch, into out: inout ByteQueue) {
        for event in batch.events where !tail.hasFailed {
            switch event {
            case .text(let choice, let text): write("text", batch.bytes(text), choice, into: &out)
            case .refusal(let choice, let text): write("refusal", batch.bytes(text), choice, into: &out)
            case .reasoning(let choice, let text): write("reasoning", batch.bytes(text), choice, into: &out)
            case .toolCallStart(let choice, let index, let id, let name):
                openCall(choice, index, into: &out)
                if !id.isEmpty {
                    out.append(",\"id\":")
                    JSONText.appendQuoted(batch.bytes(id), into: &out)
                }
                out.append(",\"name\":")
                JSONText.appendQuoted(batch.bytes(name), into: &out)
                out.append("}}")
                close(into: &out)
            case .toolCallArguments(let choice, let index, let fragment):
                openCall(choice, index, into: &out)
                out.append(",\"arguments\":")
                JSONText.appendQuoted(batch.bytes(fragment), into: &out)
                out.append("}}")
                close(into: &out)
            case .source(let url, let title):
                open(into: &out)
                out.append("{\"source\":{\"url\":")
                JSONText.appendQuoted(batch.bytes(url), into: &out)
                out.append(",\"title\":")
                JSONText.appendQuoted(batch.bytes(title), into: &out)
                out.append("}}")
                close(into: &out)
            default:
                tail.note(event, batch)
                // At once: where a batch ends is an accident of the network.
                if tail.hasNewError { writeError(into: &out) }
            }
        }
    }

    private mutating func writeError(into out: inout ByteQueue) {
        let framing = framing
        tail.writeError(into: &out, terminator: Self.terminator(framing)) { Self.openError(framing, into: &$0) }
    }

    mutating func end(into out: inout ByteQueue) -> BodyEnding {
        guard !tail.hasFailed else { return .complete }
        open(into: &out)
        out.append("{")
        tail.writeEnd(into: &out)
        out.append("}")
        close(into: &out)
        return .complete
    }

    mutating func fail(_ failure: StreamFailure, into out: inout ByteQueue) -> BodyEnding {
        let framing = framing
        tail.write(failure, into: &out, terminator: Self.terminator(framing)) { Self.openError(framing, into: &$0) }
        return .complete
    }

    func keepalive(into out: inout ByteQueue) -> Bool {
        guard framing == .sse else { return false }
        out.append(":\n\n")
        return true
    }

    // MARK: - Parts

    private static func openError(_ framing: Framing, into out: inout ByteQueue) {
        if framing == .sse { out.append("event: error\ndata: ") }
    }

    private static func terminator(_ framing: Framing) -> StaticString { framing == .sse ? "\n\n" : "\n" }

    private func open(into out: inout ByteQueue) { if framing == .sse { out.append("data: ") } }

    private func close(into out: inout ByteQueue) {
        out.append(Self.terminator(framing))
    }

    private func write(_ name: StaticString, _ text: Span<UInt8>, _ choice: Int, into out: inout ByteQueue) {
        open(into: &out)
        out.append("{\"")
        out.append(name)
        out.append("\":")
        JSONText.appendQuoted(text, into: &out)
        if choice != 0 {
            out.append(",\"choice\":")
            out.append(decimal: choice)
        }
        out.append("}")
        close(into: &out)
    }

    private func openCall(_ choice: Int, _ index: Int, into out: inout ByteQueue) {
        open(into: &out)
        out.append("{")
        if choice != 0 {
            out.append("\"choice\":")
            out.append(decimal: choice)
            out.append(",")
        }
        out.append("\"tool_call\":{\"index\":")
        out.append(decimal: index)
    }
}
