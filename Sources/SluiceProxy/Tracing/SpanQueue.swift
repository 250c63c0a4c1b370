/// Spans that wait to be exported, oldest first, and no more of them than may. Those of an exchange stay in one piece, so that little
/// moves while other threads wait for the lock.
struct SpanQueue: Sendable {
    private var pieces: [[SpanFacts]] = []
    /// Spans.
    private(set) var count = 0

    /// Takes all of them, or none: false where they do not fit.
    mutating func append(_ spans: [SpanFacts], limit: Int) -> Bool {
        guard count + spans.count <= limit else { return false }
        pieces.append(spans)
        count += spans.count
        return true
    }

    /// Takes out at most `wanted`.
    mutating func next(_ wanted: Int) -> [ArraySlice<SpanFacts>] {
        var (taken, rest): ([ArraySlice<SpanFacts>], Int) = ([], wanted)
        for piece in pieces {
            guard rest > 0 else { break }
            taken.append(piece.prefix(rest))
            rest -= min(rest, piece.count)
        }
        // Of the last one a part may stay.
        let left = taken.last.map { Array(pieces[taken.count - 1].dropFirst($0.count)) } ?? []
        pieces.replaceSubrange(..<taken.count, with: left.isEmpty ? [] : [left])
        count -= wanted - rest
        return taken
    }

    mutating func removeAll() { (pieces, count) = ([], 0) }
}
