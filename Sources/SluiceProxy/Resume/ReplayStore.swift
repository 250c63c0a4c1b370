import SluiceBytes
import SluiceHTTP
import SluiceStreams

/// A generation is one answer that outlives the connection that asked for it: its encoded bytes are kept as they were sent, and read
/// again from any position. Positions are offsets into its body, in bytes, so that every framing can be resumed alike.
struct GenerationFacts: Sendable, Equatable {
    /// 22 characters of base64url, 128 random bits. It stands before the position in the ids of events.
    var id: String
    /// A name that the client chose, most often its chat's id: finds the newest generation of its scope that bears it.
    var alias: String?
    /// The route's path and whom the route's `auth` knows the client as. Only who asks from the same scope may follow.
    var scope: String
    /// What its body is written in: errors and keepalives of those that follow are told so.
    var format: StreamFormat
    /// So much of its body is kept, the newest; `resume.buffer`.
    var bufferBytes = 1 << 20
    /// Of a task: the workflow that it runs.
    var workflow: String?
}

/// How the body of a generation ended.
enum GenerationEnding: Sendable, Equatable {
    /// With its last byte; an error that was told in the stream's own way included.
    case whole
    /// Without: followers must be cut off too.
    case cut
}

/// Why a generation cannot be followed any further.
public enum ReplayFailure: Error, Sendable, Equatable {
    /// What stood at that position has been dropped: the buffer is smaller than what the reader has missed.
    case forgotten
    /// Nobody knows it (any more).
    case unknown
    /// Its process is gone, and with it the rest of the answer.
    case ownerGone
    /// The store that may know it does not answer.
    case storeAway
}

/// Where generations are kept beyond the process that makes them. Belongs to one worker; never blocks its loop. What it cannot keep
/// it drops and counts: a generation goes on without it.
protocol ReplayStore: AnyObject {
    /// False while it cannot be reached.
    var isAvailable: Bool { get }

    // What the maker of a generation says, in this order.
    /// `keep`: for so long, from the last that is heard of its maker, if that says nothing more.
    func begin(_ facts: GenerationFacts, keep: Interval)
    func head(_ id: String, _ head: ResponseHead)
    /// `offset` is the position of the first of `bytes`.
    func append(_ id: String, at offset: Int, _ bytes: Span<UInt8>)
    /// It is kept for `keep` from now on.
    func end(_ id: String, _ ending: GenerationEnding, keep: Interval)
    /// Nobody wants it any more.
    func remove(_ id: String)

    // What others ask.
    /// Calls `found` once, on this loop, soon: with nil if no generation of `scope` has that id or alias. `isEnded`: nothing will be
    /// added to it.
    func find(
        _ name: GenerationName, in scope: String,
        _ found: @escaping (Result<(facts: GenerationFacts, isEnded: Bool)?, ReplayFailure>) -> Void)
    /// Reads from `position` on, and waits for what is still to come.
    func follow(_ id: String, from position: Int, _ reader: any ReplayReader) -> any ReplaySubscription
    /// Has the process that makes it stop its upstream and end it; one that has ended is forgotten.
    func stop(_ id: String)
    /// Calls `then` once, later: when others know that it has begun, or cannot be told so.
    func whenKnown(_ id: String, _ then: @escaping () -> Void)
    /// Calls `answer` once, later: whether anybody reads it by way of the store.
    func isRead(_ id: String, _ answer: @escaping (Bool) -> Void)
}

/// How a client calls a generation.
enum GenerationName: Sendable, Hashable {
    case id(String)
    case alias(String)
}

/// Who follows a generation. Called on its own loop, never from within `follow`.
protocol ReplayReader: AnyObject {
    /// Once, before any byte.
    func replayHead(_ head: ResponseHead)
    /// In order and without gaps, from the position that was asked for.
    func replayBytes(_ bytes: Span<UInt8>)
    /// Last.
    func replayEnded(_ ending: GenerationEnding)
    /// Last.
    func replayFailed(_ failure: ReplayFailure)
}

protocol ReplaySubscription: AnyObject {
    /// The reader takes nothing for now: what comes meanwhile waits in the store.
    func pause()
    func resume()
    /// Nothing is called after it. Also when the reader has heard its last call.
    func cancel()
}
