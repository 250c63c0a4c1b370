import SluiceBytes

/// What connections send while a batch of events is handled. It is written when the batch is through, or when there is enough of
/// it: system calls that wake the same peer one after the other cost less than if the work for each stood between them.
///
/// A lone event, the usual case at low load, is never corked: its bytes are written at once.
struct Cork: ~Copyable {
    private struct Segment {
        let connection: Connection
        let start: Int
        var count: Int
    }
    private var bytes = ByteQueue()
    private var segments: [Segment] = []

    private static let segmentLimit = 32
    private static let byteLimit = 64 << 10

    init() {}

    var isEmpty: Bool { segments.isEmpty }
    /// Time to write: the first one must not wait for too many others.
    var isFull: Bool { segments.count >= Self.segmentLimit || bytes.count >= Self.byteLimit }

    mutating func add(_ run: Span<UInt8>, of connection: Connection) {
        if let last = segments.last, last.connection === connection {
            segments[segments.count - 1].count += run.count
        } else {
            segments.append(Segment(connection: connection, start: bytes.count, count: run.count))
        }
        bytes.append(run)
    }

    /// Hands everything to its connections and is empty then.
    mutating func pull() {
        for segment in segments {
            segment.connection.writeCorked(bytes.span.extracting(segment.start..<(segment.start + segment.count)))
        }
        segments.removeAll(keepingCapacity: true)
        bytes.removeAll()
        bytes.release(ifOver: 2 * Self.byteLimit)
    }
}
