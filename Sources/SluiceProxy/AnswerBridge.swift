import SluiceBytes
import SluiceConfig
import SluiceStreams

/// Chooses how an upstream's answer becomes the client's.
enum AnswerBridge {
    /// For an upstream that answers in the stream that its dialect defines. Where the client speaks that dialect itself the bytes
    /// are relayed, and the decoder watches. `unixTime`: when the answer was made, if the upstream does not say.
    static func make(
        _ expectation: UpstreamRequest.Expectation, _ endpoint: UpstreamEndpoint, route: RouteEntry,
        requestID: String, at unixTime: Int, limits: Limits
    ) -> StreamBridge {
        let wire = endpoint.spec.wire
        let decoder = wire.makeDecoder(eventBytes: limits.eventBytes)
        var options = options(expectation, endpoint, route, requestID)
        options.created = unixTime
        guard let encoder = StreamEncoders.make(expectation.format, options: options) else {
            return StreamBridge(relaying: decoder)
        }
        // What is relayed leaves as it came, and cannot be paced.
        guard isRelayed(expectation, endpoint), expectation.wantsStream, route.spec.smooth == nil else {
            var bridge = StreamBridge(decoder: decoder, encoder: encoder)
            // Of a task nobody sees how it comes.
            let isTask = route.spec.workflow != nil && expectation.run == nil
            if !isTask, let pace = route.spec.smooth { bridge.smooth(pace, limitBytes: limits.streamBufferHighBytes) }
            return bridge
        }
        let hasLines = expectation.format == .ollamaChat || expectation.format == .ollamaGenerate
        return StreamBridge(relaying: decoder, failingAs: encoder, boundary: hasLines ? .line : .blankLine)
    }

    /// The client speaks the upstream's own dialect, so nothing needs to be converted.
    static func isRelayed(_ expectation: UpstreamRequest.Expectation, _ endpoint: UpstreamEndpoint) -> Bool {
        guard case .dialect(let dialect) = endpoint.spec.wire, !expectation.wantsArray else { return false }
        return expectation.format.dialect == dialect
    }

    private static func options(
        _ expectation: UpstreamRequest.Expectation, _ endpoint: UpstreamEndpoint, _ route: RouteEntry,
        _ requestID: String
    ) -> EncoderOptions {
        var options = EncoderOptions()
        options.id = expectation.format.idPrefix + requestID
        options.model = expectation.model
        options.includeUsage = expectation.includeUsage
        options.isDocument = !expectation.wantsStream
        options.isArray = expectation.wantsArray
        options.writesFinishReason = route.spec.vercelFinishReason
        options.hasDynamicTools = route.spec.vercelDynamicTools
        options.messageID = expectation.messageID
        options.signsCalls = endpoint.dialect == .gemini && expectation.format == .openAIChat
        options.run = expectation.run
        (options.threadID, options.runID) = (expectation.threadID, expectation.runID)
        return options
    }
}
