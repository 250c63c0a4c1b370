import SluiceBytes

/// For bytes that nobody reads: every end is a true end, since nothing could say otherwise.
struct RawDecoder: StreamDecoder {
    private(set) var progress = StreamProgress()

    mutating func feed(_ chunk: Span<UInt8>, into batch: inout EventBatch) {
        if !chunk.isEmpty { progress.sawContent = true }
    }

    mutating func finish(into batch: inout EventBatch) { progress.sawEnd = true }
}

/// `text`: a body that is the answer's text and nothing else. Text leaves only in whole code points, so up to three bytes
/// of a cut one are held back. There is no word for an end in it: the body's end at the HTTP level is the end.
struct RawTextDecoder: StreamDecoder {
    private(set) var progress = StreamProgress()
    private var partial: [UInt8] = []

    mutating func feed(_ chunk: Span<UInt8>, into batch: inout EventBatch) {
        guard !chunk.isEmpty else { return }
        start(into: &batch)
        var bytes = partial
        chunk.withUnsafeBufferPointer { bytes.append(contentsOf: $0) }
        let whole = Self.wholeCount(bytes.span)
        partial = Array(bytes[whole...])
        append(bytes.span.extracting(0..<whole), into: &batch)
    }

    mutating func finish(into batch: inout EventBatch) {
        let rest = partial
        partial = []
        append(rest.span, into: &batch)
        progress.sawEnd = true
        batch.append(.end)
    }

    private mutating func start(into batch: inout EventBatch) {
        guard progress.eventCount == 0 else { return }
        progress.eventCount = 1
        batch.append(.start(id: .empty, model: .empty, created: nil))
    }

    private mutating func append(_ text: Span<UInt8>, into batch: inout EventBatch) {
        guard !text.isEmpty else { return }
        progress.sawContent = true
        let stored = batch.store { out in text.withUnsafeBufferPointer { UTF8Text.append($0, into: &out) } }
        batch.append(.text(choice: 0, stored))
    }

    /// How many bytes stand before a code point that is not whole yet. What can never become one counts as whole.
    private static func wholeCount(_ bytes: Span<UInt8>) -> Int {
        for back in 1...3 where back <= bytes.count {
            let lead = bytes[bytes.count - back]
            if lead & 0xC0 == 0x80 { continue }
            let needed = lead >= 0xF0 ? 4 : lead >= 0xE0 ? 3 : lead >= 0xC0 ? 2 : 1
            return needed > back ? bytes.count - back : bytes.count
        }
        return bytes.count
    }
}
