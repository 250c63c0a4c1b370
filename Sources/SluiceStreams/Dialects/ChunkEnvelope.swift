import SluiceBytes

/// What stands before `choices` in one provider's chunks: id, model, time and such, which stay the same for a stream, or for a
/// second of it. Where it is met again, it needs one comparison and no parsing.
struct ChunkEnvelope {
    private var bytes: [UInt8] = []

    private static let limit = 1024

    /// Where the value of `choices` begins, if all before it is as learnt.
    func choices(of json: Span<UInt8>) -> Int? {
        guard !bytes.isEmpty, json.count > bytes.count,
            ASCII.equal(json.extracting(0..<bytes.count), bytes.span)
        else { return nil }
        return bytes.count
    }

    /// `json` has been parsed: before `end`, where the value of `choices` begins, it said nothing of its own.
    mutating func learn(_ json: Span<UInt8>, before end: Int) {
        guard end <= Self.limit else { return }
        bytes.removeAll(keepingCapacity: true)
        json.extracting(0..<end).withUnsafeBufferPointer { bytes.append(contentsOf: $0) }
    }
}
