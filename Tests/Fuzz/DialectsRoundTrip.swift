import SluiceBytes
import SluiceStreams

/// An answer that has ended truly, written in the format of a provider and read as that provider's, is the same answer, once as a stream
/// and once as a document.
func checkRoundTrip(_ bytes: [UInt8], _ way: Way) {
    guard let dialect = ownDialect(way.format), let decoder = way.decoder,
        let answer = Answer(bytes, decoder), answer.endedTruly
    else { return }
    for isDocument in [false, true] {
        guard let decoder = way.decoder, let encoder = way.encoder(isDocument: isDocument) else { continue }
        guard let written = convert(bytes, decoder, encoder) else { continue }
        let back = Way(dialect: dialect, readsDocument: isDocument, format: way.format)
        guard let reader = back.decoder else { continue }
        let told = "\(way)\(isDocument ? "'s document" : "") and back"
        guard let again = Answer(written, reader) else {
            return require(false, "\(told): cannot be read: \(String(decoding: written, as: UTF8.self))")
        }
        compare(answer, again, way.format, told)
    }
}

/// nil if the format cannot tell the answer, and told an error.
private func convert(_ bytes: [UInt8], _ decoder: any StreamDecoder, _ encoder: any StreamEncoder) -> [UInt8]? {
    var bridge = StreamBridge(decoder: decoder, encoder: encoder)
    var batch = EventBatch()
    var out = ByteQueue()
    do throws(StreamError) {
        try bridge.consume(bytes.span, batch: &batch, into: &out)
        guard try bridge.finish(batch: &batch, into: &out) == .complete, bridge.endedTruly else { return nil }
    } catch {
        return nil
    }
    return out.withUnsafeBytes { Array($0) }
}

private func ownDialect(_ format: StreamFormat) -> Dialect? {
    switch format {
    case .openAIChat: .openAIChat
    case .openAIResponses: .openAIResponses
    case .openAICompletions: .openAICompletions
    case .anthropic: .anthropicMessages
    case .gemini: .gemini
    case .ollamaChat: .ollamaChat
    case .ollamaGenerate: .ollamaGenerate
    case .cohere: .cohereV2
    case .mlflow: .mlflow
    case .text, .sseText, .sseJSON, .ndjson, .vercelUI, .vercelData, .agUI, .passthrough: nil
    }
}

private func compare(_ answer: Answer, _ again: Answer, _ format: StreamFormat, _ told: String) {
    let needsObjects = [.anthropic, .gemini, .ollamaChat].contains(format)
    // Such a call is left out, and the ending tells of it.
    if needsObjects, answer.calls.contains(where: { !$0.isObject }) { return }
    require(again.endedTruly, "\(told): does not end")
    let hasRefusals = format == .openAIChat || format == .openAIResponses
    if hasRefusals {
        requireEqual([answer.text], [again.text], "\(told), text")
        requireEqual([answer.refusal], [again.refusal], "\(told), refusal")
    } else {
        requireEqual([answer.visible], [again.visible], "\(told), text")
    }
    if ![.openAICompletions, .mlflow].contains(format) {
        requireEqual([answer.reasoning], [again.reasoning], "\(told), reasoning")
    }
    if ![.openAICompletions, .ollamaGenerate].contains(format) {
        requireEqual(answer.calls.map(\.description), again.calls.map(\.description), "\(told), calls")
    }
    guard format == .openAIChat else { return }
    requireEqual(["\(answer.reason)"], ["\(again.reason)"], "\(told), finish reason")
    requireEqual(["\(answer.usage)"], ["\(again.usage)"], "\(told), usage")
}

/// Choice 0 of an answer, put together from its events.
private struct Answer {
    struct Call: CustomStringConvertible {
        let name: String
        var arguments = ""
        /// Nothing at all is an object without members.
        private var value: JSONValue? {
            let isBlank = arguments.utf8.allSatisfy { $0 <= ASCII.space } || arguments == "null"
            return isBlank ? .object([]) : StrictJSON.isValue(Array(arguments.utf8)) ? JSONValue.parse(arguments) : nil
        }
        var isObject: Bool { value?.members != nil }
        /// White space between the parts of JSON does not count.
        var description: String {
            "\(name)(\(value.map { String(decoding: $0.serialized(), as: UTF8.self) } ?? arguments))"
        }
    }
    private(set) var text = ""
    private(set) var refusal = ""
    /// Both, as they came.
    private(set) var visible = ""
    private(set) var reasoning = ""
    private(set) var calls: [Call] = []
    private var finish: FinishReason?
    private(set) var usage = Usage()
    private(set) var endedTruly = false

    /// The reason that clients are told, who know fewer and wait for one.
    var reason: FinishReason {
        let reason = finish ?? (calls.isEmpty ? .stop : .toolCalls)
        return reason == .other ? calls.isEmpty ? .stop : .toolCalls : reason
    }

    /// nil if it cannot be read.
    init?(_ bytes: [UInt8], _ decoder: any StreamDecoder) {
        var decoder = decoder
        var batch = EventBatch()
        do throws(StreamError) {
            try decoder.feed(bytes.span, into: &batch)
            try decoder.finish(into: &batch)
        } catch {
            return nil
        }
        endedTruly = decoder.progress.isComplete && decoder.progress.eventCount > 0
        for event in batch.events {
            switch event {
            case .text(choice: 0, let range):
                text += batch.string(range)
                visible += batch.string(range)
            case .refusal(choice: 0, let range):
                refusal += batch.string(range)
                visible += batch.string(range)
            case .reasoning(choice: 0, let range): reasoning += batch.string(range)
            case .toolCallStart(choice: 0, let index, _, let name):
                require(index == calls.count, "calls are counted")
                calls.append(Call(name: batch.string(name)))
            case .toolCallArguments(choice: 0, let index, let range):
                require(calls.indices.contains(index), "arguments have a call")
                calls[index].arguments += batch.string(range)
            case .finish(choice: 0, let reason, _): finish = reason
            case .usage(let counts): usage = counts
            default: break
            }
        }
    }
}
