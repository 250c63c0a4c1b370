import SluiceBytes

/// One item of a response's output: a message, a reasoning, or a function call, with all that it says.
struct ResponseItem {
    enum Kind { case message, reasoning, call }
    /// A part of a message's content, or a summary of the reasoning.
    struct Part {
        let isRefusal: Bool
        var text: [UInt8] = []
    }

    let kind: Kind
    /// Its place in the output, from which its id is made too.
    let position: Int
    var parts: [Part] = []
    /// Of a call; the id is quoted.
    var callID: [UInt8] = []
    var name: [UInt8] = []
    var arguments: [UInt8] = []
    var isDone = false

    init(_ kind: Kind, position: Int) { (self.kind, self.position) = (kind, position) }

    enum Status {
        case inProgress, completed, incomplete
        var word: StaticString {
            switch self {
            case .inProgress: "in_progress"
            case .completed: "completed"
            case .incomplete: "incomplete"
            }
        }
    }

    /// A call without arguments is one with no members; one that was cut is not complete.
    mutating func finishCall() -> Status {
        if arguments.isEmpty { arguments = Array("{}".utf8) }
        isDone = true
        return JSONScanner.isJSON(arguments.span) ? .completed : .incomplete
    }

    // MARK: - Writing

    /// `msg_<answer>_<position>`, quoted.
    func appendID(_ head: AnswerHead, into out: inout ByteQueue) {
        out.append(ASCII.quote)
        switch kind {
        case .message: out.append("msg_")
        case .reasoning: out.append("rs_")
        case .call: out.append("fc_")
        }
        JSONText.appendEscaped(head.id.span, into: &out)
        out.append("_")
        out.append(decimal: position)
        out.append(ASCII.quote)
    }

    func append(_ status: Status, _ head: AnswerHead, into out: inout ByteQueue) {
        out.append("{\"id\":")
        appendID(head, into: &out)
        switch kind {
        case .reasoning: out.append(",\"type\":\"reasoning\",\"summary\":[")
        case .message, .call:
            out.append(
                kind == .call
                    ? ",\"type\":\"function_call\",\"status\":\"" as StaticString
                    : ",\"type\":\"message\",\"role\":\"assistant\",\"status\":\"")
            out.append(status.word)
            out.append(kind == .call ? "\",\"call_id\":" as StaticString : "\",\"content\":[")
        }
        if kind == .call {
            out.append(callID)
            out.append(",\"name\":")
            JSONText.appendQuoted(name.span, into: &out)
            out.append(",\"arguments\":")
            JSONText.appendQuoted(arguments.span, into: &out)
            return out.append(ASCII.rightBrace)
        }
        for (index, part) in parts.enumerated() {
            if index > 0 { out.append(ASCII.comma) }
            append(part, into: &out)
        }
        out.append("]}")
    }

    func append(_ part: Part, into out: inout ByteQueue) {
        switch (kind, part.isRefusal) {
        case (.reasoning, _): out.append("{\"type\":\"summary_text\",\"text\":")
        case (_, true): out.append("{\"type\":\"refusal\",\"refusal\":")
        case (_, false): out.append("{\"type\":\"output_text\",\"annotations\":[],\"logprobs\":[],\"text\":")
        }
        JSONText.appendQuoted(part.text.span, into: &out)
        out.append(ASCII.rightBrace)
    }
}

/// The response object, in the stream's first and last events and as a document.
struct ResponseObject {
    enum Status {
        case inProgress
        /// Completed, or incomplete for a reason that has a word.
        case ended(FinishReason)
        case failed(ErrorReport)
    }
    let head: AnswerHead
    var usage = Usage()

    func append(_ status: Status, _ items: [ResponseItem], into out: inout ByteQueue) {
        out.append("{\"id\":")
        JSONText.appendQuoted(head.id.span, into: &out)
        out.append(",\"object\":\"response\",\"created_at\":")
        out.append(decimal: head.created)
        append(status, into: &out)
        out.append(",\"instructions\":null,\"max_output_tokens\":null,\"model\":")
        JSONText.appendQuoted(head.model.span, into: &out)
        out.append(",\"output\":[")
        for (index, item) in items.enumerated() {
            if index > 0 { out.append(ASCII.comma) }
            item.append(Self.status(of: item, status), head, into: &out)
        }
        out.append("],\"parallel_tool_calls\":true,\"previous_response_id\":null,\"temperature\":null")
        out.append(",\"tool_choice\":\"auto\",\"tools\":[],\"top_p\":null,\"truncation\":\"disabled\",\"usage\":")
        if case .inProgress = status { out.append("null") } else { usage.appendResponses(into: &out) }
        out.append(",\"user\":null,\"metadata\":{}}")
    }

    private func append(_ status: Status, into out: inout ByteQueue) {
        switch status {
        case .inProgress:
            out.append(",\"status\":\"in_progress\",\"error\":null,\"incomplete_details\":null")
        case .ended(let reason):
            if let word = reason.incompleteWord {
                out.append(",\"status\":\"incomplete\",\"error\":null,\"incomplete_details\":{\"reason\":\"")
                out.append(word)
                out.append("\"}")
            } else {
                out.append(",\"status\":\"completed\",\"error\":null,\"incomplete_details\":null")
            }
        case .failed(let error):
            out.append(",\"status\":\"failed\",\"error\":{\"code\":\"")
            out.append(error.kind.responseCode)
            out.append("\",\"message\":")
            JSONText.appendQuoted(error.message.span, into: &out)
            out.append("},\"incomplete_details\":null")
        }
    }

    /// The last item of a response that is not complete was cut, and so is a call that is no JSON.
    private static func status(of item: ResponseItem, _ status: Status) -> ResponseItem.Status {
        guard item.isDone else { return .incomplete }
        return item.kind == .call && !JSONScanner.isJSON(item.arguments.span) ? .incomplete : .completed
    }
}
