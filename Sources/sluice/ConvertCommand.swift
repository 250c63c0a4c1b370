import Glibc
import SluiceBytes
import SluiceConfig
import SluiceIO
import SluiceStreams

/// `sluice convert`: a recorded or live stream from standard input to standard output, by the engine of the proxy.
///
/// Exit codes: 0 the stream ended as its dialect ends, 3 it was cut or carried an error, 1 input or output failed.
struct ConvertCommand {
    /// As `limits.event_bytes` has it.
    private static let eventBytes = 8 << 20
    private static let failed: Int32 = 3

    private let dialect: Dialect
    private let format: StreamFormat
    /// Bytes fed at a time; nil is as they come.
    private let chunk: Int?
    private var encoding = EncoderOptions()

    static func run(_ arguments: [String]) throws(CommandOptions.Fault) -> Int32 {
        let options = try CommandOptions(
            arguments, values: ["from", "to", "chunk", "model"], flags: ["request", "document", "drop-unsupported"])
        if let extra = options.operands.first {
            throw CommandOptions.Fault("convert reads standard input and takes no '\(extra)'")
        }
        _ = (try options.required("from"), try options.required("to"))
        if options.has("request") { return try ConvertRequestCommand(options).run() }
        return try ConvertCommand(options).run()
    }

    private init(_ options: CommandOptions) throws(CommandOptions.Fault) {
        dialect = try options.choice("from", Dialect.self, excluding: [.raw]) ?? .auto
        format = try options.choice("to", StreamFormat.self, excluding: [.passthrough]) ?? .text
        chunk = try options.count("chunk")
        encoding.id = "convert"
        encoding.model = options.text("model") ?? ""
        encoding.created = EventLoop.unixTime()
        encoding.includeUsage = true
        encoding.isDocument = options.has("document")
    }

    private func run() -> Int32 {
        guard let encoder = StreamEncoders.make(format, options: encoding) else { return 2 }
        var conversion = Conversion(
            bridge: StreamBridge(
                decoder: StreamDecoders.make(dialect, eventBytes: Self.eventBytes), encoder: encoder))
        do throws(StandardStreams.Fault) {
            try relay(&conversion)
        } catch {
            return CommandLineTool.complain(error)
        }
        guard let failure = conversion.failure else { return 0 }
        CommandLineTool.write("sluice: \(failure)\n", to: 2)
        return Self.failed
    }

    /// What one read brought leaves before the next one.
    private func relay(_ conversion: inout Conversion) throws(StandardStreams.Fault) {
        var buffer = [UInt8](repeating: 0, count: 64 << 10)
        while true {
            let count = try StandardStreams.read(into: &buffer)
            if count == 0 { break }
            var start = 0
            while start < count, !conversion.isOver {
                let end = min(start + (chunk ?? count), count)
                conversion.consume(buffer.span.extracting(start..<end))
                start = end
            }
            try StandardStreams.write(&conversion.out)
            if conversion.isOver { return }
        }
        conversion.finish()
        try StandardStreams.write(&conversion.out)
    }
}

/// A bridge with its scratch, and the verdict on how the stream ended.
private struct Conversion: ~Copyable {
    var bridge: StreamBridge
    var out = ByteQueue()
    private var batch = EventBatch()
    private let began = EventLoop.clock()
    /// Why the stream is no whole one, in words; nil as long as it is.
    private(set) var failure: String?
    private(set) var isOver = false

    init(bridge: consuming StreamBridge) { self.bridge = bridge }

    mutating func consume(_ bytes: Span<UInt8>) {
        bridge.clock(EventLoop.clock() - began)
        do throws(StreamError) {
            try bridge.consume(bytes, batch: &batch, into: &out)
        } catch {
            fail(error)
        }
    }

    mutating func finish() {
        bridge.clock(EventLoop.clock() - began)
        do throws(StreamError) {
            _ = try bridge.finish(batch: &batch, into: &out)
            isOver = true
            if !bridge.endedTruly { failure = bridge.errorKind == nil ? Self.cut : bridge.errorMessage }
        } catch {
            fail(error)
        }
    }

    private static let cut = "the stream ended before it was complete"

    private mutating func fail(_ error: StreamError) {
        isOver = true
        _ = bridge.fail(StreamFailure(.malformed, "the provider sent what is not its dialect"), into: &out)
        switch error {
        case .eventTooLarge(let limit): failure = "\(limit)"
        case .malformed(let what, let offset): failure = "\(what) (byte \(offset) of the input)"
        }
    }
}

/// `sluice convert --request`: one request body from a client's format to an upstream's dialect.
struct ConvertRequestCommand {
    private let format: RequestFormat
    private let dialect: Dialect
    private var rules = RequestRules()

    init(_ options: CommandOptions) throws(CommandOptions.Fault) {
        format = try options.choice("from", RequestFormat.self) ?? .passthrough
        dialect = try options.choice("to", Dialect.self) ?? .auto
        rules.model = options.text("model")
        rules.dropsUnsupported = options.has("drop-unsupported")
    }

    func run() -> Int32 {
        let body: [UInt8]
        do throws(StandardStreams.Fault) {
            body = try StandardStreams.readAll()
        } catch {
            return CommandLineTool.complain(error)
        }
        let translated: TranslatedRequest
        do throws(RequestError) {
            translated = try RequestTranslator.translate(body, from: format, to: dialect, rules, RequestHints())
        } catch {
            CommandLineTool.write("sluice: \(error.message)\n", to: 2)
            return 1
        }
        if !translated.dropped.isEmpty {
            CommandLineTool.write("sluice: left out: \(translated.dropped.joined(separator: ", "))\n", to: 2)
        }
        var out = ByteQueue()
        out.append(translated.body)
        out.append("\n")
        do throws(StandardStreams.Fault) {
            try StandardStreams.write(&out)
        } catch {
            return CommandLineTool.complain(error)
        }
        return 0
    }
}
