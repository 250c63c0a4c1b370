import SluiceBytes

/// What stands around the text in one provider's chunks, so that most chunks need two comparisons and no parsing.
///
/// The chunks of a stream differ, as a rule, in their text alone: `{"id":"…",…"delta":{"content":"` before it and
/// `"},"logprobs":null,"finish_reason":null}]}` behind it stay the same to the byte. If both stand around a run without
/// quotes and backslashes, that run is the text and the rest means what it meant before. Anything else is parsed.
struct ChunkTemplate {
    private var bytes: [UInt8] = []  // what stands before, then what stands behind
    private var prefixCount = 0
    private(set) var choice = 0
    /// Chunks parsed since the last match: hosts that change every chunk are not learnt again each time.
    private var misses = 0

    /// Where the text of `json` stands, if the rest of it is as learnt.
    mutating func content(of json: Span<UInt8>) -> Range<Int>? {
        guard let content = match(json) else { return nil }
        misses = 0
        return content
    }

    private func match(_ json: Span<UInt8>) -> Range<Int>? {
        let suffixCount = bytes.count - prefixCount
        guard prefixCount > 0, json.count >= bytes.count else { return nil }
        let end = json.count - suffixCount
        let known = bytes.span
        guard ASCII.equal(json.extracting(end..<json.count), known.extracting(prefixCount..<bytes.count)),
            ASCII.equal(json.extracting(0..<prefixCount), known.extracting(0..<prefixCount))
        else { return nil }
        let text = json.extracting(prefixCount..<end)
        guard ASCII.firstIndex(of: ASCII.quote, in: text) == nil,
            ASCII.firstIndex(of: ASCII.backslash, in: text) == nil
        else { return nil }
        return prefixCount..<end
    }

    /// Where a run of bytes stands in memory: compared with the event's own place, never followed.
    struct Place {
        fileprivate let address: UInt
        fileprivate let count: Int

        init(_ bytes: Span<UInt8>) {
            address = bytes.withUnsafeBufferPointer { UInt(bitPattern: $0.baseAddress) }
            count = bytes.count
        }
    }

    /// `json` has been parsed, and `batch` holds what it meant from `before` on. If that is one run of text and nothing else,
    /// the next ones are likely the same around it.
    @inline(__always)
    mutating func learn(_ json: Span<UInt8>, of answer: AnswerState, in batch: borrowing EventBatch, from before: Int) {
        guard batch.events.count == before + 1, answer.contentCount == 1, let place = answer.content,
            case .text(let choice, _)? = batch.events.last
        else { return }
        learn(json, contentAt: place, choice: choice)
    }

    /// `json` has been parsed: its one meaning is the text at `place`, of that choice.
    private mutating func learn(_ json: Span<UInt8>, contentAt place: Place, choice: Int) {
        misses &+= 1
        let whole = Place(json)
        guard misses < 4 || misses & 63 == 0, json.count - place.count <= 4096, place.address >= whole.address,
            place.address - whole.address <= UInt(json.count - place.count)
        else { return }
        let start = Int(place.address - whole.address)
        bytes.removeAll(keepingCapacity: true)
        bytes.reserveCapacity(json.count - place.count)
        json.extracting(0..<start).withUnsafeBufferPointer { bytes.append(contentsOf: $0) }
        json.extracting((start + place.count)..<json.count).withUnsafeBufferPointer { bytes.append(contentsOf: $0) }
        (prefixCount, self.choice) = (start, choice)
    }
}
