import SluiceBytes
import SluiceStreams

/// The formats that Sluice writes itself: the demo's answer as events, through the encoder of the format.
struct EncodedWire: DemoWire {
    private let answer: DemoAnswer
    private let format: StreamFormat
    private let options: EncoderOptions
    private var encoder: (any StreamEncoder)?

    init(_ format: StreamFormat, _ answer: DemoAnswer, _ request: DemoRequest) {
        (self.format, self.answer) = (format, answer)
        var options = EncoderOptions()
        options.id = answer.id
        options.model = answer.model
        options.created = answer.created
        options.includeUsage = request.wantsUsage
        options.isArray = request.wantsArray
        self.options = options
        encoder = StreamEncoders.make(format, options: options)
    }

    var contentType: String { encoder?.contentType.description ?? "application/octet-stream" }

    mutating func write(_ part: DemoAnswer.Part) -> [UInt8] { Self.write(part, answer, &encoder) }

    /// The encoder's own document; null if it makes none.
    func document() -> JSONValue {
        var options = options
        options.isDocument = true
        var encoder = StreamEncoders.make(format, options: options)
        let bytes = answer.parts.flatMap { Self.write($0, answer, &encoder) }
        return JSONValue.parse(bytes) ?? .null
    }

    private static func write(
        _ part: DemoAnswer.Part, _ answer: DemoAnswer, _ encoder: inout (any StreamEncoder)?
    ) -> [UInt8] {
        var batch = EventBatch()
        var out = ByteQueue()
        append(part, answer, to: &batch)
        encoder?.encode(batch, into: &out)
        if case .end = part { _ = encoder?.end(into: &out) }
        return out.withUnsafeBytes { Array($0) }
    }

    private static func append(_ part: DemoAnswer.Part, _ answer: DemoAnswer, to batch: inout EventBatch) {
        switch part {
        case .start:
            let (id, model) = (batch.store(answer.id), batch.store(answer.model))
            batch.append(.start(id: id, model: model, created: answer.created))
            batch.append(.usage(Usage(input: answer.inputTokens)))
        case .reasoning(let token): batch.append(.reasoning(choice: 0, batch.store(token)))
        case .reasoningEnd: batch.append(.reasoningSignature(choice: 0, batch.store("ZGVtbw==")))
        case .text(let token): batch.append(.text(choice: 0, batch.store(token)))
        case .callStart:
            guard let call = answer.call else { return }
            let (id, name) = (batch.store(call.id), batch.store(call.name))
            batch.append(.toolCallStart(choice: 0, index: 0, id: id, name: name))
        case .arguments(let fragment):
            batch.append(.toolCallArguments(choice: 0, index: 0, batch.store(fragment)))
        case .callEnd: batch.append(.toolCallEnd(choice: 0, index: 0))
        case .finish: batch.append(.finish(choice: 0, answer.finish, raw: .empty))
        case .usage: batch.append(.usage(answer.usage))
        case .end: batch.append(.end)
        }
    }
}
