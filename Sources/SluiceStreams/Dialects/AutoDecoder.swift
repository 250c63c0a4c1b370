import SluiceBytes

/// `auto`: finds out from its first event of which dialect a stream is, and leaves the rest to that dialect's decoder.
///
/// The first byte says which framing it is; blank lines and comments before it are dropped. Then the bytes are held
/// until the first event is whole that says more, so that the verdict is the same wherever the stream is cut. Events
/// that say nothing may come before it, up to `searchLimit`. Comments are told as pings at once.
struct AutoDecoder: StreamDecoder {
    static let searchLimit = 64 << 10

    private enum Stage {
        case leading
        case events(SSEDecoder, DetectionProbe)
        case frames(AWSEventStreamDecoder, DetectionProbe)
        /// JSON whose first line is not whole yet.
        case line
        /// JSON that is one document; its dialect, where its first line has said it.
        case document(Dialect?)
        case known
    }
    private var stage = Stage.leading
    private var prefix = LeadingBytes()
    private var held: [UInt8] = []
    private var decoder: (any StreamDecoder)?
    /// What has been found.
    private(set) var dialect: Dialect?
    private let limit: Int

    init(eventBytes: Int) { limit = eventBytes }

    var progress: StreamProgress { decoder?.progress ?? StreamProgress() }

    mutating func feed(_ chunk: Span<UInt8>, into batch: inout EventBatch) throws(StreamError) {
        if decoder != nil { return try pass(chunk, into: &batch) }
        var start = 0
        if case .leading = stage {
            start = prefix.skip(chunk, into: &batch)
            guard start < chunk.count else { return }
            stage = begin(with: chunk[start])
        }
        let rest = chunk.extracting(start..<chunk.count)
        if case .known = stage { return try pass(rest, into: &batch) }
        let before = held.count
        rest.withUnsafeBufferPointer { held.append(contentsOf: $0) }
        do {
            try look(at: rest, from: before, into: &batch)
        } catch {
            throw shifted(error)
        }
    }

    mutating func finish(into batch: inout EventBatch) throws(StreamError) {
        do {
            try decideAtEnd(into: &batch)
        } catch {
            throw shifted(error)
        }
        do {
            try decoder?.finish(into: &batch)
        } catch {
            throw shifted(error)
        }
    }

    // MARK: - Looking

    private mutating func begin(with byte: UInt8) -> Stage {
        switch byte {
        case ASCII.leftBrace: return .line
        case ASCII.leftBracket:
            dialect = .gemini
            decoder = StreamDecoders.make(.gemini, eventBytes: limit)
            return .known
        // No frame is so long that its length begins with more.
        case 0, 1: return .frames(AWSEventStreamDecoder(eventBytes: limit), DetectionProbe())
        default: return beginEvents()
        }
    }

    /// White space before JSON means nothing; before a field of an event stream it spoils the field's name.
    private mutating func beginEvents() -> Stage {
        var (framing, probe) = (SSEDecoder(eventBytes: limit), DetectionProbe())
        if prefix.isIndented {
            prefix.dropped -= 1
            held.append(ASCII.space)
            var batch = EventBatch()
            _ = Self.fault { () throws(StreamError) in try framing.feed(held.span, to: &probe, into: &batch) }
        }
        return .events(framing, probe)
    }

    private mutating func look(at rest: Span<UInt8>, from start: Int, into batch: inout EventBatch)
        throws(StreamError)
    {
        switch stage {
        case .events(var framing, var probe):
            stage = .known  // so that what is looked at has one owner
            let fault = Self.fault { () throws(StreamError) in
                try framing.feed(rest, to: &probe, into: &batch)
                try probe.giveUp(at: framing.eventOffset)
            }
            stage = .events(framing, probe)
            try settle(probe, fault, into: &batch)
        case .frames(var framing, var probe):
            stage = .known
            let fault = Self.fault { () throws(StreamError) in try framing.feed(rest, to: &probe, into: &batch) }
            stage = .frames(framing, probe)
            try settle(probe, fault, into: &batch)
        case .line: try lookForLine(from: start, into: &batch)
        case .document, .leading, .known: break
        }
        // Also where the document has only just been found to be one: it may have come whole.
        if case .document = stage, held.count > limit { throw .eventTooLarge(Limit("event_bytes", limit)) }
    }

    private static func fault(_ body: () throws(StreamError) -> Void) -> StreamError? {
        do {
            try body()
            return nil
        } catch {
            return error
        }
    }

    /// What comes behind the event that told the dialect is its decoder's to judge.
    private mutating func settle(_ probe: DetectionProbe, _ fault: StreamError?, into batch: inout EventBatch)
        throws(StreamError)
    {
        if let dialect = probe.found {
            let told = batch.events.count
            defer { batch.removePings(probe.pings, from: told) }
            return try adopt(.stream(dialect), into: &batch)
        }
        if let fault { throw fault }
    }

    private mutating func lookForLine(from start: Int, into batch: inout EventBatch) throws(StreamError) {
        let end = ASCII.firstIndex(of: ASCII.lf, in: held.span, from: start)
        guard (end ?? held.count) < limit else { throw .eventTooLarge(Limit("event_bytes", limit)) }
        guard let end else { return }
        guard JSONScanner.isJSON(held.span.extracting(0..<end)) else {
            stage = .document(nil)
            return
        }
        let verdict = DialectDetection.line(held.span.extracting(0..<end))
        if case .document(let dialect) = verdict {
            stage = .document(dialect)
        } else {
            try adopt(verdict, into: &batch)
        }
    }

    private mutating func decideAtEnd(into batch: inout EventBatch) throws(StreamError) {
        switch stage {
        case .leading, .known: return
        case .events(var framing, var probe):
            let fault = Self.fault { () throws(StreamError) in
                try framing.finish(to: &probe, into: &batch, isWhole: OpenAICompletionsDialect.isWhole)
            }
            try settle(probe, fault, into: &batch)
        case .frames: break
        case .document(let dialect?): return try adopt(.document(dialect), into: &batch)
        case .line, .document(nil): return try adopt(DialectDetection.line(held.span), into: &batch)
        }
        if decoder == nil { throw Self.unknown(at: 0) }
    }

    // MARK: - Leaving it to the dialect

    private mutating func adopt(_ verdict: DialectDetection.Verdict, into batch: inout EventBatch) throws(StreamError) {
        switch verdict {
        case .stream(let found):
            dialect = found
            decoder = StreamDecoders.make(found, eventBytes: limit)
        case .document(let found):
            dialect = found
            decoder = StreamDecoders.makeDocument(found, eventBytes: limit)
        case .nothingYet, .unknown: break
        }
        guard decoder != nil else { throw Self.unknown(at: 0) }
        stage = .known
        var whole: [UInt8] = []
        swap(&whole, &held)
        try decoder?.feed(whole.span, into: &batch)
    }

    private mutating func pass(_ chunk: Span<UInt8>, into batch: inout EventBatch) throws(StreamError) {
        do {
            try decoder?.feed(chunk, into: &batch)
        } catch {
            throw shifted(error)
        }
    }

    static func unknown(at offset: Int) -> StreamError {
        .malformed("no event shows which dialect the stream is of", offset: offset)
    }

    /// The decoders count from the first byte that was not dropped.
    private func shifted(_ error: StreamError) -> StreamError {
        guard case .malformed(let words, let offset) = error else { return error }
        return .malformed(words, offset: offset &+ prefix.dropped)
    }
}

/// Takes the first events of a stream, until one says of which dialect they are.
private struct DetectionProbe: SSEHandler, AWSFrameHandler {
    static var readsIDs: Bool { false }
    private(set) var found: Dialect?
    /// Comments that have been told as pings.
    private(set) var pings = 0

    mutating func event(_ event: borrowing SSEEvent, offset: Int, into batch: inout EventBatch) throws(StreamError) {
        try giveUp(at: offset)
        take(DialectDetection.event(event.data, type: event.type))
    }

    mutating func comment(into batch: inout EventBatch) {
        guard found == nil else { return }
        pings += 1
        batch.append(.ping)
    }

    /// llama.cpp's errors stand behind a name that no event stream has.
    mutating func stray(_ line: Span<UInt8>, offset: Int, into batch: inout EventBatch) {
        if found == nil, line.count > 6, ASCII.equal(line.extracting(0..<6), "error:") { found = .llamaCPP }
    }

    mutating func frame(_ frame: borrowing AWSFrame, offset: Int, into batch: inout EventBatch) throws(StreamError) {
        try giveUp(at: offset)
        take(DialectDetection.frame(type: frame.type, isEvent: ASCII.equal(frame.messageType, "event")))
    }

    private mutating func take(_ verdict: DialectDetection.Verdict) {
        if found == nil, case .stream(let dialect) = verdict { found = dialect }
    }

    /// An event that begins there comes too late.
    func giveUp(at offset: Int) throws(StreamError) {
        if found == nil, offset >= AutoDecoder.searchLimit { throw AutoDecoder.unknown(at: AutoDecoder.searchLimit) }
    }
}

/// What may stand before the first event in any framing: a byte order mark, white space, comments of an event stream.
private struct LeadingBytes {
    private var markSeen = 0
    private var isInComment = false
    /// White space has come since the last line's end.
    private(set) var isIndented = false
    /// Bytes passed over until now.
    var dropped = 0

    /// Where the first byte stands that is none of them.
    mutating func skip(_ chunk: Span<UInt8>, into batch: inout EventBatch) -> Int {
        let mark: [3 of UInt8] = [0xEF, 0xBB, 0xBF]
        for index in chunk.indices {
            let byte = chunk[index]
            if isInComment {
                if byte == ASCII.lf || byte == ASCII.cr {
                    isInComment = false
                    batch.append(.ping)
                }
            } else if dropped == markSeen, markSeen < 3, byte == mark[markSeen] {
                markSeen += 1
            } else if byte == ASCII.lf || byte == ASCII.cr {
                isIndented = false
            } else if byte == ASCII.space || byte == ASCII.tab {
                isIndented = true
            } else if byte == ASCII.colon, !isIndented {
                isInComment = true
            } else {
                return index
            }
            dropped &+= 1
        }
        return chunk.count
    }
}
