import SluiceBytes

/// `sse-text`: each run of text as one event, for `EventSource`. A line end inside the text becomes a further `data:`
/// line, which the reader joins with LF; CR and CRLF cannot be expressed and arrive as LF. Events are numbered by `id`.
///
/// The end is `event: done` with finish reason and usage, a failure is `event: error`; without either it was a cut.
struct SSETextEncoder: StreamEncoder {
    var contentType: StaticString { "text/event-stream" }
    private var nextID = 1
    private var tail = StreamTail()
    /// The last text ended in CR: an LF that opens the next one belongs to it.
    private var endedInCR = false

    mutating func encode(_ batch: borrowing EventBatch, into out: inout ByteQueue) {
        for event in batch.events where !tail.hasFailed {
            switch event {
            case .text(choice: 0, let text): write(batch.bytes(text), into: &out)
            case .refusal(choice: 0, let text):
                tail.noteRefusal()
                write(batch.bytes(text), into: &out)
            default:
                tail.note(event, batch)
                // At once: where a batch ends is an accident of the network.
                if tail.hasNewError { tail.writeError(into: &out) { $0.append("event: error\ndata: ") } }
            }
        }
    }

    mutating func end(into out: inout ByteQueue) -> BodyEnding {
        guard !tail.hasFailed else { return .complete }
        writeID(into: &out)
        out.append("event: done\ndata: {")
        tail.writeEnd(into: &out)
        out.append("}\n\n")
        return .complete
    }

    mutating func fail(_ failure: StreamFailure, into out: inout ByteQueue) -> BodyEnding {
        tail.write(failure, into: &out) { $0.append("event: error\ndata: ") }
        return .complete
    }

    func keepalive(into out: inout ByteQueue) -> Bool {
        out.append(":\n\n")
        return true
    }

    private mutating func writeID(into out: inout ByteQueue) {
        out.append("id: ")
        out.append(decimal: nextID)
        out.append(ASCII.lf)
        nextID += 1
    }

    private mutating func write(_ text: Span<UInt8>, into out: inout ByteQueue) {
        if text.isEmpty { return }
        let start = endedInCR && text[0] == ASCII.lf ? 1 : 0
        endedInCR = text[text.count - 1] == ASCII.cr
        if start == text.count { return }
        writeID(into: &out)
        Self.appendData(text, from: start, into: &out)
    }

    /// One event: a `data:` line for each line of the text.
    static func appendData(_ text: Span<UInt8>, from first: Int, into out: inout ByteQueue) {
        out.append("data: ")
        var (start, index) = (first, first)
        while index < text.count {
            let byte = text[index]
            if byte == ASCII.lf || byte == ASCII.cr {
                out.append(text.extracting(start..<index))
                if byte == ASCII.cr, index + 1 < text.count, text[index + 1] == ASCII.lf { index += 1 }
                out.append("\ndata: ")
                start = index + 1
            }
            index += 1
        }
        out.append(text.extracting(start..<text.count))
        out.append("\n\n")
    }
}
