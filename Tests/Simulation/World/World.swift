import SluiceBytes
import SluiceIO
import SluiceProxy

/// A proxy, its clients and its upstreams in a network of their own. Everything that happens follows from the seed.
public final class World {
    /// What one seed came to.
    public struct Report: Sendable {
        public let seed: UInt64
        /// What was not as it must be; empty if all was.
        public var violations: [String] = []
        /// Of all that happened, with the time.
        public var hash: UInt64 = 0
        public var turns = 0
        public var requests = 0
        public var complete = 0
    }

    let timeline = Timeline()
    let network: Network
    let kernel: SimulatedKernel
    let setting: Setting
    private let scenario: Scenario?
    private(set) var plans: [Plan] = []
    private var clients: [any ClientActor] = []
    private var upstreams: [Upstream] = []
    private var worker: Worker?
    private var report: Report
    private let traces: Bool
    private var hash: UInt64 = 0xCBF2_9CE4_8422_2325
    var connectFaults = 0
    private var drainStarted: UInt64?
    private var idleSince: UInt64?
    private var idleTurns = 0
    private var lastProgress = 0

    /// One for all worlds: it has a thread, which lives as long as the process.
    private static let log = Result { try LogWriter(Setting.silent) }

    /// `scenario`: what is the same whatever the seed. `traces`: tell on standard output what happens.
    public static func run(_ seed: UInt64, _ scenario: Scenario? = nil, traces: Bool = false) -> Report {
        do {
            let world = try World(seed, scenario, traces: traces)
            defer { world.end() }
            try world.live()
            world.finish()
            return world.report
        } catch {
            return Report(seed: seed, violations: ["the world could not be made: \(error)"])
        }
    }

    private init(_ seed: UInt64, _ scenario: Scenario?, traces: Bool) throws {
        var random = SeededRandom(seed)
        self.traces = traces
        report = Report(seed: seed)
        self.scenario = scenario
        var setting = Setting(&random)
        scenario?.adjust(&setting)
        self.setting = setting
        network = Network(timeline, random.fork())
        if traces {
            network.tell = { [timeline] in print("\(Self.time(timeline)) \($0)") }
        }
        kernel = SimulatedKernel(timeline, network, setting.faults, random.fork())
        let snapshot = try setting.snapshot()
        let shared = SharedState(snapshot.configuration.limits, log: try Self.log.get())
        let worker = try Worker(snapshot, shared: shared, kernel: kernel, seed: random.next())
        self.worker = worker
        _ = try worker.listen(on: [Setting.listener])
        for spec in Setting.upstreams {
            upstreams.append(
                Upstream(
                    spec.name, spec.address, spec.dialect, isHTTP2: spec.isHTTP2,
                    connectFaults: setting.connectFaults, weather: setting.weather(&random), world: self,
                    random: random.fork()))
        }
        try makeClients(&random)
        if let delay = setting.reloadsAfter {
            timeline.after(delay) { [unowned self] in self.worker?.install(snapshot) }
        }
        if let delay = setting.drainsAfter { timeline.after(delay) { [unowned self] in drain() } }
        note("world", plans.count, clients.count)
    }

    private func makeClients(_ random: inout SeededRandom) throws {
        for index in 0..<setting.clientCount {
            let drawn = random.pick([ClientProtocol.keeping, .keeping, .keeping, .closing, .old, .http2, .http2])
            let version = setting.protocols ?? drawn
            let isHTTP2 = version == .http2
            let count = isHTTP2 || version == .keeping ? random.within(1...setting.requestsEach) : 1
            var own: [Plan] = []
            let pace = setting.pace(&random)
            for _ in 0..<count {
                let plan = Plan(plans.count)
                setting.fill(plan, &random, pace: pace, isHTTP2: isHTTP2)
                scenario?.shape(plan, &random)
                plans.append(plan)
                if traces { print(plan.summary(isHTTP2: isHTTP2)) }
                own.append(plan)
            }
            // Who stalls in one thing stalls in all that share its connection.
            if own.contains(where: { $0.excuses.contains("client fault") }) {
                for plan in own {
                    plan.excuses.insert("client fault")
                    plan.padding = min(plan.padding, 2_000)
                }
            }
            let closesAfter = random.chance(75) ? random.skewed(0...seconds(3)) : nil
            let pipelines = random.chance(30)
            let weather = setting.weather(&random)
            let peer = SocketAddress.ip(.v4(0x0A02_0000 + UInt32(index)), port: 40_000)
            timeline.after(random.skewed(0...setting.spread)) { [unowned self] in
                let (near, far) = network.connect(to: Setting.listener, weather: weather, peer: peer)
                let client: (any ClientActor)?
                if isHTTP2 {
                    client = try? HTTP2Client(own, world: self, socket: near, closesAfter: closesAfter)
                } else {
                    client = HTTP1Client(
                        own, world: self, socket: near, version: version, pipelines: pipelines,
                        closesAfter: closesAfter)
                }
                guard let client else { return violate("no client") }
                clients.append(client)
                far.peerLeft = { [unowned self] in clientGone(client) }
            }
        }
    }

    // MARK: - Living

    private func live() throws {
        guard let worker else { return }
        let patience = timeline.now &+ UInt64(seconds(3_600))
        while report.violations.isEmpty {
            try worker.loop.turn(maximumWait: 1_000)
            check(worker)
            if worker.loop.isStopped { break }
            if timeline.now > patience {
                violate("the world does not end: \(unfinished)")
            } else if idleSince == nil, plans.allSatisfy({ $0.outcome != nil }) {
                idleSince = timeline.now
            } else if let idleSince, drainStarted == nil, timeline.now - idleSince > UInt64(seconds(60)) {
                checkIdle(worker)
                drain()
            } else if let drainStarted, timeline.now - drainStarted > UInt64(seconds(60)) + UInt64(Setting.drainTimeout)
            {
                violate("the drain does not end: \(worker.census), \(unfinished)")
            }
        }
    }

    private var unfinished: String {
        plans.filter { $0.outcome == nil }.map { "plan \($0.id)" }.joined(separator: " ")
    }

    private func drain() {
        guard drainStarted == nil else { return }
        note("drain")
        drainStarted = timeline.now
        // What an upstream works on is finished as long as there is time for it.
        for plan in plans where plan.outcome == nil && plan.works.isEmpty { plan.excuses.insert("drained") }
        timeline.after(Setting.drainTimeout) { [unowned self] in
            for plan in plans where plan.outcome == nil { plan.excuses.insert("drained") }
        }
        worker?.drain(timeout: Interval(nanoseconds: UInt64(Setting.drainTimeout)))
    }

    private func finish() {
        // In the middle of its work it cannot be taken apart, and nothing would be learnt by it.
        if hasViolations, let worker { _ = Unmanaged.passRetained(worker) }
        worker?.close()
        weak let loop = worker?.loop
        weak let gone = worker
        worker = nil
        if report.violations.isEmpty {
            if gone != nil || loop != nil { violate("the worker is held by something when all is over") }
            if kernel.openCount > 0 { violate("left open when all is over: \(kernel.openOnes)") }
        }
        if report.violations.isEmpty {
            // What stands in the network is still read.
            timeline.advance(to: timeline.now &+ UInt64(seconds(300)))
            judgeAll()
        }
        for text in kernel.misuse { violate(text) }
        report.hash = hash
        report.turns = kernel.turns
        report.requests = plans.count
    }

    /// Cuts the cycles of a world that is over.
    private func end() {
        for client in clients { client.close() }
        timeline.clear()
        network.sever()
    }

    // MARK: - What actors tell

    func plan(_ id: Int) -> Plan? { id < plans.count ? plans[id] : nil }

    func active(_ plan: Plan) { plan.lastActivity = timeline.now }

    func finish(_ plan: Plan, _ outcome: Plan.Outcome) {
        guard plan.outcome == nil else { return violate("plan \(plan.id) ended twice") }
        plan.outcome = outcome
        note(outcome == .left ? "left" : outcome == .aborted ? "aborted" : "answered", plan.id, plan.body.count)
        judge(plan)
    }

    func workBegan(_ work: Work) {
        let plan = work.plan
        note("work", plan.id, plan.works.count)
        active(plan)
        if !plan.body.isEmpty || plan.status != 0 {
            violate("plan \(plan.id) is asked again when its client has an answer")
        }
        for other in plan.works where other.isWanted {
            guard other.isHTTP2 else {
                violate("two upstreams work for plan \(plan.id)")
                continue
            }
            // The reset may still be on its way.
            timeline.after(seconds(2)) { [unowned self] in
                if other.isWanted { violate("two upstreams work for plan \(plan.id)") }
            }
        }
        plan.works.append(work)
        if plan.works.count > 8 { violate("plan \(plan.id) was sent \(plan.works.count) times") }
        if plan.outcome == .left { expectEnd(of: plan) }
    }

    /// A connection has ended with what of all answers on it is still under way.
    func excuse(sharing socket: Socket) {
        for plan in plans where plan.outcome == nil && plan.works.contains(where: { $0.socket === socket }) {
            plan.excuses.insert("shared connection ended")
        }
    }

    func workEnded(_ work: Work) {
        guard work.isActive else { return }
        work.isActive = false
        note(work.wasCancelled ? "work cancelled" : "work ended", work.plan.id)
    }

    /// The client's FIN or RST has reached the proxy.
    private func clientGone(_ client: any ClientActor) {
        for plan in client.plans where plan.outcome == .left { expectEnd(of: plan) }
    }

    /// A client has reset one stream.
    func streamLeft(_ plan: Plan) { expectEnd(of: plan) }

    /// Whoever works for a client that has gone is told so at once.
    private func expectEnd(of plan: Plan) {
        let stalled = kernel.stalled
        // A reset may stand behind what an HTTP/2 connection has not taken yet.
        let isHTTP2 = plan.works.contains { $0.isHTTP2 }
        timeline.after(isHTTP2 ? seconds(10) : milliseconds(800)) { [unowned self] in
            guard let work = plan.works.first(where: \.isWanted) else { return }
            if kernel.stalled == stalled || work.isHTTP2 && kernel.stalled - stalled > 0 {
                guard kernel.stalled == stalled else { return expectEnd(of: plan) }
                violate("an upstream goes on for plan \(plan.id), whose client has gone")
            } else {
                expectEnd(of: plan)
            }
        }
    }

    // MARK: - Telling

    var hasViolations: Bool { !report.violations.isEmpty }

    func tell(_ text: String) { if traces { print(text) } }

    func violate(_ text: String) {
        note("violation")
        if traces { print("    \(text)") }
        if report.violations.count < 20 { report.violations.append(text) }
    }

    /// Part of the hash by which two runs of a seed are compared.
    func note(_ what: StaticString, _ first: Int = 0, _ second: Int = 0) {
        what.withUTF8Buffer { for byte in $0 { mix(UInt64(byte)) } }
        mix(timeline.now)
        mix(UInt64(bitPattern: Int64(first)))
        mix(UInt64(bitPattern: Int64(second)))
        if traces {
            print("\(Self.time(timeline)) \(what) \(first) \(second)")
        }
    }

    private static func time(_ timeline: Timeline) -> String {
        let time = "\((timeline.now - 1_000_000_000_000) / 1_000)"
        return String(repeating: " ", count: max(0, 12 - time.count)) + time + " us "
    }

    private func mix(_ value: UInt64) { hash = (hash ^ value) &* 0x100_0000_01B3 }

    func count(complete: Bool) { if complete { report.complete += 1 } }

    /// A paused HTTP/2 upstream may still send its window, which is then encoded.
    private lazy var bufferBound: Int = {
        let isShared = upstreams.contains { upstream in
            upstream.isHTTP2 && plans.contains { $0.path.hasPrefix("/\(upstream.name)/") }
        }
        return setting.bufferBound + (isShared ? setting.requestsEach * (192 << 10) : 0)
    }()

    // MARK: - Each turn

    private func check(_ worker: Worker) {
        if kernel.progress == lastProgress { idleTurns += 1 } else { (idleTurns, lastProgress) = (0, kernel.progress) }
        // A turn that found nothing waits a second at most, and timers fire now and then: so many in a row are a loop that spins.
        if idleTurns > 4_000 { return violate("the loop spins: \(worker.census)") }
        let census = worker.census
        if census.mostBuffered > bufferBound { violate("\(census.mostBuffered) bytes wait for one client") }
        if census.exchanges > 0, census.timers == 0 { violate("an exchange lives and no timer is set") }
        for plan in plans where plan.outcome == nil && plan.lastActivity > 0 {
            if timeline.now - plan.lastActivity > UInt64(seconds(75)) &+ kernel.stalled {
                return violate("nothing has happened to plan \(plan.id) for 75 s: \(census)")
            }
        }
    }

    /// All is over, and the idle times too.
    private func checkIdle(_ worker: Worker) {
        var expected = WorkerCensus()
        expected.mostBuffered = 0
        let census = worker.census
        if census != expected { violate("something is left behind: \(census)") }
        if kernel.openSocketCount > 0 { violate("left open: \(kernel.openOnes)") }
    }
}
