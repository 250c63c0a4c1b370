import SluiceBytes
import SluiceHTTP
import SluiceStreams

/// What one request brought, and when. Times are those of this machine's monotonic clock, when a read returned; what an event says of
/// itself is the other side's.
public struct Observation: Sendable {
    /// An event of a probe stream.
    public struct Event: Equatable, Sendable {
        public var number: Int
        /// Microseconds since the request reached Sluice.
        public var sent: Int
        public var arrived: Instant
        /// Bytes of the body, as it was before any compression, up to and with this event.
        public var bytesBefore: Int
        /// Its padding is what its number determines.
        public var isIntact = true
    }

    /// What one call of `recv` brought of the body.
    public struct Read: Equatable, Sendable {
        public var at: Instant
        /// Of the body as it came, and what it came to when a compression was undone.
        public var bytes: Int
        public var plainBytes: Int
        /// Whole events, or lines, in it; comments do not count.
        public var events: Int
    }

    public enum Ending: Equatable, Sendable {
        case running
        /// As HTTP says that a message ends.
        case whole
        /// The connection closed, and that was to be the end: nobody can tell it from a cut.
        case untilClose
        /// FIN, or close_notify, in the middle of the message.
        case closed
        /// RST, or TLS without close_notify.
        case reset(String)
        /// RST_STREAM with its code, or GOAWAY.
        case streamReset(UInt32)
        case malformed(String)
        /// We would wait no longer.
        case timedOut
        /// We left.
        case left
        /// There was never a connection.
        case unreachable(String)

        public var isCut: Bool {
            switch self {
            case .closed, .reset, .streamReset, .malformed: true
            case .running, .whole, .untilClose, .timedOut, .left, .unreachable: false
            }
        }
    }

    /// The connection that it came by.
    public struct Transport: Equatable, Sendable {
        public var local = ""
        public var peer = ""
        /// `HTTP/1.1` or `HTTP/2`.
        public var version = "HTTP/1.1"
        public var tlsVersion: String?
        public var certificate: Certificate?
        /// From the first SYN to the connection, and to the end of the TLS handshake.
        public var connectTime = Interval.zero
        public var handshakeTime = Interval.zero

        public init() {}
    }

    public struct Certificate: Equatable, Sendable {
        public var subject: String
        public var issuer: String
        public var daysLeft: Int
        /// Why it is not trusted; nil: it is.
        public var fault: String?

        public init(subject: String, issuer: String, daysLeft: Int, fault: String? = nil) {
            (self.subject, self.issuer, self.daysLeft, self.fault) = (subject, issuer, daysLeft, fault)
        }
    }

    /// nil: it was no probe.
    public var plan: ProbePlan?
    public var transport = Transport()
    public var requested: Instant
    public var head: ResponseHead?
    public var headArrived: Instant?
    public var reads: [Read] = []
    public var events: [Event] = []
    public var comments: [Instant] = []
    /// How the request arrived: what the first event says.
    public var hello: JSONValue?
    public var isDone = false
    public var ending = Ending.running
    public var ended: Instant
    /// The beginning of a body that is no stream of ours, for what it may say of an error.
    public var opening: [UInt8] = []

    public init(requested: Instant, plan: ProbePlan? = nil) {
        (self.requested, ended, self.plan) = (requested, requested, plan)
    }

    /// The answer is Sluice's, and to this very request.
    public var isProbe: Bool {
        guard let plan, let head else { return false }
        return head.status == 200 && head.fields.first("sluice-probe") == plan.id
    }

    public func field(_ name: String) -> String? { head?.fields.first(named: name) }

    /// What a field of the request was when it reached Sluice; nil: it did not.
    public func arrivedField(_ name: String) -> String? {
        for field in hello?["fields"]?.elements ?? [] {
            if let pair = field.elements, pair.first?.string?.text == name {
                return pair.count > 1 ? pair[1].string?.text ?? "" : ""
            }
        }
        return nil
    }
}
