import SluiceBytes

/// The answer to a run of a workflow: what the client calls the workflow, and how it wants to have the output.
public struct RunAnswer: Sendable, Equatable {
    public var workflowID: String
    public var taskID: String
    /// The output and nothing around it.
    public var isOutputOnly: Bool
    /// The member of the output that has the text; nil: the text is the output.
    public var output: String?

    public init(workflowID: String, taskID: String, isOutputOnly: Bool, output: String? = nil) {
        (self.workflowID, self.taskID) = (workflowID, taskID)
        (self.isOutputOnly, self.output) = (isOutputOnly, output)
    }

    /// `{"task_id":…,"status":…,"workflow_id":…` without the brace at the end.
    public func openState(_ status: StaticString, into out: inout ByteQueue) {
        out.append("{\"task_id\":")
        JSONText.appendQuoted(taskID, into: &out)
        out.append(",\"status\":\"")
        out.append(status)
        out.append("\",\"workflow_id\":")
        JSONText.appendQuoted(workflowID, into: &out)
    }

    /// The whole state of a task that is over; `text` is what its output says, as UTF-8.
    public func appendCompleted(_ text: Span<UInt8>, into out: inout ByteQueue) {
        appendCompleted(into: &out) { JSONText.appendQuoted(text, into: &$0) }
    }

    /// The output alone.
    public func appendOutput(_ text: Span<UInt8>, into out: inout ByteQueue) {
        appendOutput(into: &out) { JSONText.appendQuoted(text, into: &$0) }
    }

    func appendCompleted(into out: inout ByteQueue, quoted: (inout ByteQueue) -> Void) {
        openState("completed", into: &out)
        out.append(",\"output\":")
        appendOutput(into: &out, quoted: quoted)
        out.append(ASCII.rightBrace)
    }

    func appendOutput(into out: inout ByteQueue, quoted: (inout ByteQueue) -> Void) {
        guard let output else { return quoted(&out) }
        out.append(ASCII.leftBrace)
        JSONText.appendQuoted(output, into: &out)
        out.append(ASCII.colon)
        quoted(&out)
        out.append(ASCII.rightBrace)
    }

    /// `{"detail":…}`, with the task's state for who asked for that.
    public func appendFailure(_ message: String, into out: inout ByteQueue) {
        out.append("{\"detail\":")
        JSONText.appendQuoted(message, into: &out)
        if !isOutputOnly {
            var state = ByteQueue()
            openState("failed", into: &state)
            out.append(ASCII.comma)
            out.append(state.span.extracting(1..<state.count))
            out.append(",\"error\":")
            JSONText.appendQuoted(message, into: &out)
        }
        out.append("}\n")
    }
}

/// A workflow's text as model-compose streams it: each run of text as an event, and nothing else: no ids, no names.
public struct RunText: Sendable {
    public enum Form: Sendable, Equatable {
        /// `data: TEXT`, and a line for each further line of it.
        case lines
        /// `data: "TEXT"`, a JSON string.
        case json
        /// The text and nothing else.
        case text

        /// nil for what no workflow streams in.
        public init?(_ format: StreamFormat) {
            switch format {
            case .sseText: self = .lines
            case .sseJSON: self = .json
            case .text: self = .text
            default: return nil
            }
        }
    }
    public let form: Form
    private var endedInCR = false

    public init(_ form: Form) { self.form = form }

    public var contentType: StaticString {
        form == .text ? "text/plain; charset=utf-8" : "text/event-stream; charset=utf-8"
    }

    /// Appends one run of text, which is UTF-8.
    public mutating func write(_ text: Span<UInt8>, into out: inout ByteQueue) {
        if text.isEmpty { return }
        switch form {
        case .text: out.append(text)
        case .json:
            out.append("data: ")
            JSONText.appendQuoted(text, into: &out)
            out.append("\n\n")
        case .lines:
            // An LF behind a CR is no line end of its own.
            let start = endedInCR && text[0] == ASCII.lf ? 1 : 0
            endedInCR = text[text.count - 1] == ASCII.cr
            if start == text.count { return }
            SSETextEncoder.appendData(text, from: start, into: &out)
        }
    }
}

/// The stream of a workflow. It has no word for its end: a cut is told by the transfer alone.
struct RunEncoder: StreamEncoder {
    private var text: RunText
    private var hasFailed = false

    init(_ form: RunText.Form) { text = RunText(form) }

    var contentType: StaticString { text.contentType }

    mutating func encode(_ batch: borrowing EventBatch, into out: inout ByteQueue) {
        for event in batch.events where !hasFailed {
            switch event {
            case .text(choice: 0, let run), .refusal(choice: 0, let run): text.write(batch.bytes(run), into: &out)
            case .error: hasFailed = true
            default: break
            }
        }
    }

    mutating func end(into out: inout ByteQueue) -> BodyEnding { hasFailed ? .abort : .complete }

    mutating func fail(_ failure: StreamFailure, into out: inout ByteQueue) -> BodyEnding {
        hasFailed = true
        return .abort
    }

    func keepalive(into out: inout ByteQueue) -> Bool {
        if text.form == .text { return false }
        out.append(":\n\n")
        return true
    }
}
