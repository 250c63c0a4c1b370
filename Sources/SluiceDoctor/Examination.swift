import Glibc
import SluiceBytes
import SluiceHTTP
import SluiceIO
import SluiceStreams

/// What a doctor is asked to do.
public struct ExaminationOptions: Sendable {
    public enum Version: Sendable { case best, http1, http2 }

    public var url: DoctorURL
    public var version = Version.best
    public var method = "GET"
    public var fields: [(name: String, value: String)] = []
    public var body: [UInt8] = []
    /// nil: the system's.
    public var caPath: String?
    public var verifies = true
    /// How much silence a stream must survive.
    public var idle = Interval.seconds(10)
    /// How long a busy stream must last; zero: that is not looked at.
    public var duration = Interval.zero
    /// For a stream that is not Sluice's.
    public var timeout = Interval.seconds(60)
    public var probeKey: String?
    public var asksForProbes = true

    public init(url: DoctorURL) { self.url = url }
}

/// All that was seen.
public struct Evidence: Sendable {
    /// What a stream was for.
    public enum Purpose: String, CaseIterable, Sendable {
        /// A stream as Sluice sends them.
        case main
        /// Without the fields that ask for no buffering.
        case plain
        /// With `Accept-Encoding`, as browsers ask.
        case coded
        case ndjson, text
        /// Silence without keepalives, and with them.
        case idle, kept
        /// Silence before the answer's head.
        case slowHead
        /// The client leaves.
        case cancel
        case duration
    }

    public struct Cancellation: Equatable, Sendable {
        /// From our leaving to its being noticed at Sluice; nil: it was not.
        public var noticed: Interval?
        /// Sluice knew the stream, so the answer is to be believed.
        public var isKnown = false
        public var waited = Interval.zero

        public init(noticed: Interval? = nil, isKnown: Bool = false, waited: Interval = .zero) {
            (self.noticed, self.isKnown, self.waited) = (noticed, isKnown, waited)
        }
    }

    public var streams: [Purpose: Observation] = [:]
    public var cancellation: Cancellation?
    public var idle = Interval.zero
    public var duration = Interval.zero
    /// Certificates were checked.
    public var isVerified = true

    public init() {}

    public subscript(purpose: Purpose) -> Observation? { streams[purpose] }
}

/// Asks for streams and watches them arrive, all at the same time. Runs a loop of its own.
public final class Examination {
    private let options: ExaminationOptions
    private let loop: EventLoop
    private let resolver: Resolver
    private var settings: CallSettings
    private var evidence = Evidence()
    private var open = 0
    private var nextID: UInt64

    /// - Throws: what is wrong with the CA file, or that there is no epoll.
    public init(_ options: ExaminationOptions) throws {
        self.options = options
        loop = try EventLoop()
        resolver = Resolver(loop: loop)
        settings = CallSettings(url: options.url)
        (settings.method, settings.body) = (options.method, options.body)
        settings.authority = options.fields.last { $0.name.lowercased() == "host" }?.value
        switch options.version {
        case .best: settings.version = .best
        case .http1: settings.version = .http1
        case .http2: settings.version = .http2
        }
        var seed: UInt64 = 0
        _ = getentropy(&seed, 8)
        nextID = seed
        if options.url.isTLS {
            let alpn: [String] =
                switch options.version {
                case .best: ["h2", "http/1.1"]
                case .http1: ["http/1.1"]
                case .http2: ["h2"]
                }
            settings.tls = try TLSContext.client(
                TLSClientOptions(caPath: options.caPath, verify: options.verifies, alpn: alpn))
        }
        (evidence.idle, evidence.duration, evidence.isVerified) = (options.idle, options.duration, options.verifies)
    }

    /// Returns when all streams are over.
    public func run() throws -> Evidence {
        begin()
        while open > 0 { try loop.turn(maximumWait: -1) }
        resolver.close()
        loop.stopNow()
        return evidence
    }

    // MARK: - Streams

    /// The first stream tells whether there is a Sluice that answers probes; then the others begin.
    private func begin() {
        let main = call(.main)
        main.onHead = { [unowned self] call in
            if call.observation.isProbe { beginOthers() }
        }
        main.start()
    }

    private func beginOthers() {
        var purposes: [Evidence.Purpose] = [.plain, .coded, .ndjson, .text]
        if options.idle > .zero { purposes += [.idle, .kept, .slowHead] }
        if options.duration > .zero { purposes.append(.duration) }
        for purpose in purposes { call(purpose).start() }
        beginCancellation()
    }

    private func plan(_ purpose: Evidence.Purpose) -> ProbePlan {
        nextID = nextID &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
        var plan = ProbePlan(id: "d" + String(nextID, radix: 36))
        let tokens = ProbePlan.Group(16, every: .milliseconds(100), bytes: 48)
        let blocks = ProbePlan.Group(32, every: .milliseconds(40), bytes: 1024)
        switch purpose {
        case .main: plan.groups = [tokens, blocks, .init(1, every: .milliseconds(100), bytes: 64 << 10)]
        case .plain: (plan.groups, plan.isPlain) = ([tokens, blocks], true)
        case .coded: plan.groups = [tokens]
        case .ndjson: (plan.groups, plan.framing) = ([tokens], .ndjson)
        case .text: (plan.groups, plan.framing) = ([tokens], .text)
        case .idle: (plan.groups, plan.silence) = ([.init(2, every: .milliseconds(100), bytes: 16)], options.idle)
        case .kept:
            (plan.groups, plan.silence) = ([.init(2, every: .milliseconds(100), bytes: 16)], options.idle)
            plan.keepalive = .milliseconds(max(200, options.idle.milliseconds / 4))
        case .slowHead: (plan.groups, plan.wait) = ([.init(2, every: .milliseconds(100), bytes: 16)], options.idle)
        case .cancel:
            // Silence follows: who notices a leaving only when there is something to pass on does not notice this one.
            (plan.groups, plan.silence) = ([.init(4, every: .milliseconds(100), bytes: 48)], .seconds(12))
        case .duration:
            plan.groups = [.init(Int(options.duration.seconds.rounded(.up)), every: .seconds(1), bytes: 16)]
        }
        return plan
    }

    private func call(_ purpose: Evidence.Purpose) -> Call {
        let plan = options.asksForProbes ? plan(purpose) : nil
        var fields = requestFields
        if purpose == .coded { fields.append("Accept-Encoding", "gzip, br") }
        if plan == nil { fields.append("Accept-Encoding", "gzip") }
        if let plan { fields.append("Sluice-Probe", plan.text) }
        let probed = plan.map { Interval.milliseconds($0.duration.milliseconds + 15_000) }
        // The first one may turn out to be a stream of somebody else.
        let patience = purpose == .main ? max(options.timeout, .seconds(20)) : probed ?? options.timeout
        let call = Call(
            settings, fields: fields, plan: plan, patience: patience, loop: loop, resolver: resolver)
        open += 1
        call.onEnd = { [unowned self] call in
            evidence.streams[purpose] = call.observation
            open -= 1
        }
        return call
    }

    private var requestFields: HeaderFields {
        var fields = HeaderFields()
        if !options.fields.contains(where: { $0.name.lowercased() == "user-agent" }) {
            fields.append("User-Agent", "sluice-doctor")
        }
        if !options.fields.contains(where: { $0.name.lowercased() == "accept" }) { fields.append("Accept", "*/*") }
        for (name, value) in options.fields where name.lowercased() != "host" { fields.append(name, value) }
        if let key = options.probeKey, options.asksForProbes { fields.append("Sluice-Probe-Key", key) }
        return fields
    }

    // MARK: - Leaving

    private static let cancelPatience = Interval.seconds(5)

    /// Leaves in the silence behind a few events, whether they have come or not, and asks Sluice when it noticed.
    private func beginCancellation() {
        let call = call(.cancel)
        call.start()
        pause(.seconds(1)) { [unowned self] in
            guard call.observation.ending == .running, let id = call.observation.plan?.id else { return }
            // Asking counts as open before leaving does not any more.
            let left = loop.readClock()
            open += 1
            call.leave()
            askAbout(id, left: left)
        }
    }

    private func askAbout(_ id: String, left: Instant) {
        var fields = requestFields
        fields.append("Sluice-Probe", "status=\(id)")
        let asked = loop.readClock()
        let call = Call(
            settings, fields: fields, plan: nil, patience: .seconds(5), loop: loop, resolver: resolver)
        call.onEnd = { [unowned self] call in
            let now = loop.readClock()
            let status = JSONValue.parse(call.observation.opening)
            let state = status?["state"]?.string?.text
            let waited = now - left
            if state == "gone", let ago = status?["ago"]?.integer {
                // It was noticed so long before the middle of asking.
                let middle = asked + Interval(nanoseconds: (now - asked).nanoseconds / 2)
                let before = UInt64(min(max(0, ago), StreamRecorder.sentLimit)) * 1_000
                let noticed = (middle - left).nanoseconds &- min(before, (middle - left).nanoseconds)
                evidence.cancellation = .init(noticed: Interval(nanoseconds: noticed), isKnown: true, waited: waited)
                open -= 1
            } else if waited > Self.cancelPatience {
                evidence.cancellation = .init(isKnown: state == "running" || state == "done", waited: waited)
                open -= 1
            } else {
                pause(.milliseconds(150)) { [unowned self] in askAbout(id, left: left) }
            }
        }
        call.start()
    }

    private final class Pause: TimerHandler {
        let work: () -> Void
        init(_ work: @escaping () -> Void) { self.work = work }
        func timerFired(_ timer: TimerID, on loop: EventLoop) { work() }
    }

    private func pause(_ time: Interval, _ work: @escaping () -> Void) {
        _ = loop.schedule(after: time, handler: Pause(work))
    }
}
