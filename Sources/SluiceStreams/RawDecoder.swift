import SluiceBytes

/// For bytes that nobody reads: every end is a true end, since nothing could say otherwise.
struct RawDecoder: StreamDecoder {
    private(set) var progress = StreamProgress()

    mutating func feed(_ chunk: Span<UInt8>, into batch: inout EventBatch) {
        if !chunk.isEmpty { progress.sawContent = true }
    }

    mutating func finish(into batch: inout EventBatch) { progress.sawEnd = true }
}

/// Makes the decoder of a dialect.
public enum StreamDecoders {
    /// `eventBytes` bounds what one event may hold while it is assembled.
    public static func make(_ dialect: Dialect, eventBytes: Int) -> any StreamDecoder {
        switch dialect {
        case .openAIChat: OpenAIChatDecoder(eventBytes: eventBytes)
        case .raw: RawDecoder()
        }
    }

    public static func make(_ custom: CustomDialect, eventBytes: Int) -> any StreamDecoder {
        CustomPathDecoder(custom, eventBytes: eventBytes)
    }
}
