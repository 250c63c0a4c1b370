import SluiceBytes

/// A provider that the configuration describes: where in each JSON payload the text, the finish reason and the error
/// stand, and which payload ends the stream.
struct CustomPathDecoder: StreamDecoder {
    private struct Handler: SSEHandler, LineHandler {
        static var readsIDs: Bool { false }
        let text: JSONPath
        let finish: JSONPath?
        let error: JSONPath?
        let done: [UInt8]?
        var progress = StreamProgress()
        var hasStarted = false
        var half: UInt16?

        mutating func event(_ event: borrowing SSEEvent, offset: Int, into batch: inout EventBatch) throws(StreamError)
        {
            try line(event.data, offset: offset, into: &batch)
        }

        mutating func comment(into batch: inout EventBatch) { batch.append(.ping) }

        mutating func line(_ json: Span<UInt8>, offset: Int, into batch: inout EventBatch) throws(StreamError) {
            if let done, Self.isEqual(json, done) {
                finishHalf(into: &batch)
                progress.sawEnd = true
                batch.append(.end)
                return
            }
            if json.isEmpty { return }
            guard JSONScanner.isJSON(json) else { throw .malformed("an event is not JSON", offset: offset) }
            progress.eventCount += 1
            if !hasStarted {
                hasStarted = true
                batch.append(.start(id: .empty, model: .empty, created: nil))
            }
            if let range = error?.find(in: json) { fail(json.extracting(range), into: &batch) }
            if let raw = text.string(in: json), !raw.isEmpty {
                progress.sawContent = true
                let stored = batch.store { JSONText.append(json.extracting(raw), half: &half, into: &$0) }
                if !stored.isEmpty { batch.append(.text(choice: 0, stored)) }
            }
            if !progress.sawFinish, let range = finish?.find(in: json) {
                end(json.extracting(range), into: &batch)
            }
        }

        /// The finish may be a reason or, as in `done: true`, a flag.
        private mutating func end(_ value: Span<UInt8>, into batch: inout EventBatch) {
            let isFlag = ASCII.equal(value, "true")
            guard isFlag || value[0] == ASCII.quote && value.count > 2 else { return }
            finishHalf(into: &batch)
            progress.sawFinish = true
            let word = isFlag ? value : value.extracting(1..<(value.count - 1))
            var none: UInt16?
            let stored = batch.store { out in
                JSONText.append(word, half: &none, into: &out)
                JSONText.dropHalf(&none, into: &out)
            }
            batch.append(.finish(choice: 0, isFlag ? .stop : Self.reason(word), raw: stored))
        }

        mutating func finishHalf(into batch: inout EventBatch) {
            guard half != nil else { return }
            let stored = batch.store { JSONText.dropHalf(&half, into: &$0) }
            batch.append(.text(choice: 0, stored))
        }

        private mutating func fail(_ value: Span<UInt8>, into batch: inout EventBatch) {
            guard !ASCII.equal(value, "null"), !ASCII.equal(value, "false"), !ASCII.equal(value, "\"\"") else { return }
            progress.sawError = true
            var scanner = JSONScanner(value)
            let message: TextRange
            if scanner.peek() == .string, let raw = scanner.string() {
                var none: UInt16?
                message = batch.store { out in
                    JSONText.append(value.extracting(raw), half: &none, into: &out)
                    JSONText.dropHalf(&none, into: &out)
                }
            } else {
                message = batch.store { out in value.withUnsafeBufferPointer { UTF8Text.append($0, into: &out) } }
            }
            batch.append(.error(.provider, message: message, type: .empty, retryAfterSeconds: nil))
        }

        private static func reason(_ word: Span<UInt8>) -> FinishReason {
            if ASCII.equalFolded(word, "stop") || ASCII.equalFolded(word, "end_turn") { return .stop }
            if ASCII.equalFolded(word, "complete") || ASCII.equalFolded(word, "eos_token") { return .stop }
            if ASCII.equalFolded(word, "length") || ASCII.equalFolded(word, "max_tokens") { return .length }
            if ASCII.equalFolded(word, "content_filter") { return .contentFilter }
            return .other
        }

        private static func isEqual(_ left: Span<UInt8>, _ right: [UInt8]) -> Bool {
            guard left.count == right.count else { return false }
            for index in left.indices where left[index] != right[index] { return false }
            return true
        }
    }
    private var events: SSEDecoder?
    private var lines: NDJSONDecoder?
    private var handler: Handler

    init(_ dialect: CustomDialect, eventBytes: Int) {
        switch dialect.framing {
        case .sse: events = SSEDecoder(eventBytes: eventBytes)
        case .ndjson: lines = NDJSONDecoder(eventBytes: eventBytes)
        }
        handler = Handler(
            text: JSONPath(dialect.text), finish: dialect.finish.map(JSONPath.init),
            error: dialect.error.map(JSONPath.init), done: dialect.done.map { Array($0.utf8) })
    }

    var progress: StreamProgress { handler.progress }

    mutating func feed(_ chunk: Span<UInt8>, into batch: inout EventBatch) throws(StreamError) {
        try events?.feed(chunk, to: &handler, into: &batch)
        try lines?.feed(chunk, to: &handler, into: &batch)
    }

    mutating func finish(into batch: inout EventBatch) throws(StreamError) {
        let done = handler.done
        func isWhole(_ data: Span<UInt8>) -> Bool {
            data.withUnsafeBufferPointer { Array($0) } == done || JSONScanner.isWhole(data)
        }
        try events?.finish(to: &handler, into: &batch, isWhole: isWhole)
        try lines?.finish(to: &handler, into: &batch, isWhole: isWhole)
        handler.finishHalf(into: &batch)
        // A dialect with neither word for an ending can only end with its body.
        if handler.finish == nil, done == nil { handler.progress.sawEnd = true }
    }
}

/// A place in a JSON document: `choices[0].delta.content`.
struct JSONPath: Sendable {
    private enum Step { case key([UInt8]), index(Int) }
    private let steps: [Step]

    init(_ text: String) {
        var steps: [Step] = []
        for part in text.split(separator: ".") {
            let pieces = part.split(separator: "[")
            for (position, piece) in pieces.enumerated() {
                if position == 0, !part.hasPrefix("[") {
                    steps.append(.key(Array(piece.utf8)))
                } else if let index = Int(piece.dropLast()) {
                    steps.append(.index(index))
                }
            }
        }
        self.steps = steps
    }

    /// The raw value there, or nil.
    func find(in json: Span<UInt8>) -> Range<Int>? {
        var scanner = JSONScanner(json)
        for step in steps {
            switch step {
            case .key(let key): guard enter(key, &scanner) else { return nil }
            case .index(let index): guard enter(index, &scanner) else { return nil }
            }
        }
        return scanner.value()
    }

    /// The raw contents of the string there, or nil.
    func string(in json: Span<UInt8>) -> Range<Int>? {
        guard let range = find(in: json), json[range.lowerBound] == ASCII.quote else { return nil }
        return range.lowerBound + 1..<range.upperBound - 1
    }

    private func enter(_ wanted: [UInt8], _ scanner: inout JSONScanner) -> Bool {
        guard scanner.peek() == .object, scanner.enterObject() else { return false }
        let bytes = scanner.bytes
        while let key = scanner.nextKey() {
            if key.count == wanted.count {
                let name = bytes.extracting(key)
                if name.indices.allSatisfy({ name[$0] == wanted[$0] }) { return true }
            }
            scanner.value()
        }
        return false
    }

    private func enter(_ wanted: Int, _ scanner: inout JSONScanner) -> Bool {
        guard scanner.peek() == .array, scanner.enterArray() else { return false }
        var index = 0
        while scanner.nextElement() {
            if index == wanted { return true }
            index += 1
            scanner.value()
        }
        return false
    }
}
