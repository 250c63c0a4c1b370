import SluiceBytes

/// A dialect of Bedrock's runtime, whose events come in the frames of an AWS event stream.
protocol BedrockDialect: EventDialect {
    /// The body has ended: what a split character still waits for never comes.
    mutating func finishHalves(into batch: inout EventBatch)
}

extension BedrockDialect {
    /// Padding of another length in each event (`p`), or base64: nothing that stays the same around the text.
    static var usesTemplate: Bool { false }

    mutating func finishHalves(into batch: inout EventBatch) { answer.finishHalves(into: &batch) }
}

/// A Bedrock dialect over an AWS event stream.
struct BedrockDecoder<Meaning: BedrockDialect>: StreamDecoder {
    private struct Handler: AWSFrameHandler {
        var events = DialectHandler<Meaning>()

        mutating func frame(_ frame: borrowing AWSFrame, offset: Int, into batch: inout EventBatch)
            throws(StreamError)
        {
            if ASCII.equal(frame.messageType, "event") {
                return try events.take(frame.payload, type: frame.type, at: offset, into: &batch)
            }
            events.dialect.answer.progress.eventCount += 1
            if ASCII.equal(frame.messageType, "exception") {
                BedrockException.read(frame.payload, type: frame.type, &events.dialect.answer, into: &batch)
            } else if ASCII.equal(frame.messageType, "error") {
                BedrockException.tell(frame.errorMessage, code: frame.type, &events.dialect.answer, into: &batch)
            } else {
                batch.append(.unknown)
            }
        }
    }
    private var framing: AWSEventStreamDecoder
    private var handler = Handler()

    init(eventBytes: Int) { framing = AWSEventStreamDecoder(eventBytes: eventBytes) }

    var progress: StreamProgress { handler.events.dialect.answer.progress }

    mutating func feed(_ chunk: Span<UInt8>, into batch: inout EventBatch) throws(StreamError) {
        try framing.feed(chunk, to: &handler, into: &batch)
    }

    /// A frame that is cut means nothing.
    mutating func finish(into batch: inout EventBatch) throws(StreamError) {
        handler.events.dialect.finishHalves(into: &batch)
    }
}

/// What goes wrong inside a stream of Bedrock's: exceptions of the service, `{"message"}`, and errors of the transport,
/// which have their words in the headers.
enum BedrockException {
    static func read(
        _ json: Span<UInt8>, type: Span<UInt8>, _ answer: inout AnswerState, into batch: inout EventBatch
    ) {
        var message: Range<Int>?
        var scanner = JSONScanner(json)
        if scanner.peek() == .object, scanner.enterObject() {
            while let key = scanner.nextKey() {
                let name = json.extracting(key)
                if ASCII.equalFolded(name, "message") { message = scanner.stringOrSkip() } else { scanner.value() }
            }
        }
        let kind = kind(type)
        guard let message, scanner.isAtEnd() else { return tell(json, code: type, &answer, into: &batch) }
        answer.error(kind, message: json.extracting(message), type: type, into: &batch)
    }

    /// Where the words are no JSON.
    static func tell(
        _ message: Span<UInt8>, code: Span<UInt8>, _ answer: inout AnswerState, into batch: inout EventBatch
    ) {
        var quoted = ByteQueue()
        JSONText.appendEscaped(message, into: &quoted)
        let kind = kind(code)
        answer.error(kind, message: quoted.span, type: code, into: &batch)
    }

    static func kind(_ type: Span<UInt8>) -> StreamErrorKind {
        if isOne(type, ["throttlingexception", "servicequotaexceededexception"]) { return .rateLimited }
        if isOne(type, ["serviceunavailableexception", "modeltimeoutexception", "modelnotreadyexception"]) {
            return .overloaded
        }
        if isOne(type, ["validationexception", "accessdeniedexception", "resourcenotfoundexception"]) {
            return .invalidRequest
        }
        return .provider
    }

    private static func isOne(_ type: Span<UInt8>, _ names: [StaticString]) -> Bool {
        for name in names where ASCII.equalFolded(type, name) { return true }
        return false
    }
}
