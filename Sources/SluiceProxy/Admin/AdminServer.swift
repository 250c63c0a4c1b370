import Glibc
import SluiceBytes
import SluiceConfig
import SluiceHTTP
import SluiceIO
import SluiceStreams

/// What the process lets its operator do beside looking. Called on the admin thread.
public struct AdminControls: Sendable {
    /// As SIGTERM does.
    var drain: @Sendable () -> Void
    /// As SIGHUP does; afterwards `done` is called, on any thread, with the faults that kept the old configuration in place.
    var reload: @Sendable (_ done: @escaping @Sendable ([String]) -> Void) -> Void
    /// Of the program.
    var version: String

    public init(
        version: String, drain: @escaping @Sendable () -> Void,
        reload: @escaping @Sendable (_ done: @escaping @Sendable ([String]) -> Void) -> Void
    ) {
        (self.version, self.drain, self.reload) = (version, drain, reload)
    }
}

/// The listener of operators, on a thread and loop of its own, so that it answers also when no worker does.
///
/// It looks at no worker's state itself: it leaves a question in each one's mailbox and puts together what comes back in time.
public final class AdminServer {
    /// Carries the server into its thread. The starting thread lets go of it before that thread runs.
    private struct Carrier: @unchecked Sendable {
        let server: AdminServer
    }

    let loop: EventLoop
    let server: Server
    let log: LogWriter
    let controls: AdminControls
    let started = ProcessMetrics.startTime()
    let router: AdminRouter
    /// Which worker the page's next request goes to.
    private var nextWorker = 0
    private var listener: Listener?
    private var gatherings: [Int: Gathering] = [:]
    private var nextGathering = 0
    /// Questions that lie in a worker's mailbox: no more are put there than it takes out.
    private var unanswered: [Int]
    /// What each worker told last. Who does not answer in time is shown as it was: a counter never falls.
    var lastReports: [WorkerReport?]

    private static let connectionLimit = 64
    private static let unansweredLimit = 16
    /// How long workers have for an answer. A loop turns many thousand times in it.
    static let patience = Interval.seconds(2)

    private init(
        _ server: Server, log: LogWriter, controls: AdminControls, router: AdminRouter
    ) throws(SystemError) {
        loop = try EventLoop()
        (self.server, self.log, self.controls) = (server, log, controls)
        self.router = router
        unanswered = Array(repeating: 0, count: server.workerCount)
        lastReports = Array(repeating: nil, count: server.workerCount)
        loop.owner = self
    }

    /// Opens the listener and starts its thread, which lives as long as the process. Returns where it is bound. A successor opens
    /// it beside that of the process it takes over from, which closes its own when it hears that it can.
    public static func start(
        _ spec: AdminSpec, of server: Server, log: LogWriter, controls: AdminControls, isSuccessor: Bool = false
    ) throws(StartError) -> SocketAddress {
        guard let address = SocketAddress(spec.address) else {
            throw StartError("\(spec.address) is not an address to listen on")
        }
        do throws(SystemError) {
            let admin = try AdminServer(server, log: log, controls: controls, router: AdminRouter(spec))
            let bound = try admin.listen(on: address, isSuccessor: isSuccessor)
            let mailbox = admin.loop.mailbox
            server.whenSuccessorServes {
                mailbox.post { loop in (loop.owner as? AdminServer)?.listener?.close(takingWaiting: true) }
            }
            let carrier = Carrier(server: admin)
            try startThread(named: "admin") {
                try? carrier.server.loop.run()
            }
            return bound
        } catch {
            throw StartError("cannot listen on \(spec.address) for the admin: \(error)")
        }
    }

    /// Answers what the demo's page asks on the listener of clients, and listens nowhere itself.
    public static func startDemo(of server: Server, log: LogWriter, controls: AdminControls) throws(StartError) {
        do throws(SystemError) {
            let admin = try AdminServer(server, log: log, controls: controls, router: AdminRouter())
            server.shared.pageDesk.withLock { $0 = admin.loop.mailbox }
            let carrier = Carrier(server: admin)
            try startThread(named: "page") {
                try? carrier.server.loop.run()
            }
        } catch {
            throw StartError("cannot serve the page: \(error)")
        }
    }

    private func listen(on address: SocketAddress, isSuccessor: Bool) throws(SystemError) -> SocketAddress {
        let budget = ConnectionBudget(limit: Self.connectionLimit)
        // A socket in the file system is its owner's alone from its first moment on.
        let mask = umask(0o177)
        defer { umask(mask) }
        if !isSuccessor {
            try ListeningSocket.checkIsFree(address)
        } else if case .unix(let path) = address {
            unlink(path)
        }
        let socket = try ListeningSocket(binding: address)
        let listener = try Listener(taking: socket, ownsPath: true, loop: loop, budget: budget) {
            [unowned self] socket, peer in
            guard let connection = try? Connection(socket, peer: peer, engine: nil, loop: loop) else {
                return budget.give()
            }
            AdminConnection(connection, server: self) { budget.give() }.start()
        }
        self.listener = listener
        return listener.address
    }

    // MARK: - Answering

    /// `isTrusted`: may see who the clients are, and cancel.
    func answer(_ head: RequestHead, isTrusted: Bool = true, _ reply: @escaping (AdminReply) -> Void) {
        do throws(AdminRefusal) {
            let action = try router.action(for: head)
            if case .cancel = action, !isTrusted {
                throw AdminRefusal(status: 403, message: "only this machine may cancel streams of the demo")
            }
            perform(action, head, isTrusted, reply)
        } catch {
            var refusal = AdminReply.message(error.status, error.message)
            if let allow = error.allow { refusal.fields.append(("Allow", allow)) }
            if error.status == 401 { refusal.fields.append(("WWW-Authenticate", "Bearer")) }
            reply(refusal)
        }
    }

    private func perform(
        _ action: AdminAction, _ head: RequestHead, _ isTrusted: Bool, _ reply: @escaping (AdminReply) -> Void
    ) {
        switch action {
        case .index: reply(.json(["endpoints": .array(Self.endpoints.map { JSONValue($0) })]))
        case .live: checkLoops(reply)
        case .ready: reply(readiness())
        case .metrics: tellMetrics(head, reply)
        case .configuration: reply(.json(ConfigurationDump.document(server.configuration)))
        case .streams(let limit): listStreams(limit, reply)
        case .cancel(let worker, let serial): cancel(worker, serial, reply)
        case .drain:
            controls.drain()
            reply(.json(["status": "draining"], status: 202))
        case .reload: reload(reply)
        case .level: reply(.json(["level": JSONValue(log.level.rawValue)]))
        case .setLevel(let level):
            log.write(.warning, "log_level", ["to": level.rawValue])
            log.level = level
            reply(.json(["level": JSONValue(level.rawValue)]))
        case .page(let file): reply(PageFiles.reply(file, to: head))
        case .pageRoutes: reply(.json(tellRoutes(isTrusted: isTrusted)))
        case .pageLive: tellLive(isTrusted: isTrusted, reply)
        case .pageCall: reply(.message(400, "needs a request of its own"))
        }
    }

    /// A request of the page that its connection carries out.
    func isCall(_ head: RequestHead) -> Bool {
        do throws(AdminRefusal) { return try router.action(for: head) == .pageCall } catch { return false }
    }

    /// A way to one of the workers for a request of the page; nil if none lives.
    func makeRelay(for peer: SocketAddress, _ tell: @escaping (PageRelay.Event) -> Void) -> PageRelay? {
        let workers = server.livingWorkers
        guard !server.isDraining, !workers.isEmpty else { return nil }
        nextWorker &+= 1
        return PageRelay(to: workers[nextWorker % workers.count], of: server, for: peer, on: loop, tell)
    }

    private static let endpoints = [
        "GET /livez", "GET /readyz", "GET /metrics", "GET /config", "GET /streams?limit=N", "POST /streams/ID/cancel",
        "POST /drain", "POST /reload", "GET /logging", "POST /logging?level=LEVEL", "GET /_sluice/",
    ]

    private func checkLoops(_ reply: @escaping (AdminReply) -> Void) {
        gather({ _, _ in .turned }) { answers, missing in
            let stuck = missing.map { JSONValue($0) }
            if stuck.isEmpty { return reply(.json(["status": "ok", "workers": JSONValue(answers.count)])) }
            reply(.json(["status": "stuck", "workers": .array(stuck)], status: 503))
        }
    }

    /// Ready is who takes new requests. That a provider is down is no reason to send clients elsewhere: all others like this one
    /// would find it down too, and here they at least learn it in their own words.
    private func readiness() -> AdminReply {
        guard server.isDraining else { return .json(["status": "ready"]) }
        return .json(["status": "not ready", "reasons": ["draining"]], status: 503)
    }

    private func reload(_ reply: @escaping (AdminReply) -> Void) {
        let gathering = begin(awaiting: [0], patience: .seconds(30)) { answers, missing in
            guard case .reloaded(let faults)? = answers[0] else {
                return reply(.message(504, "the configuration is still being read"))
            }
            if faults.isEmpty { return reply(.json(["status": "reloaded"])) }
            let list = JSONValue.array(faults.map { JSONValue($0) })
            reply(.json(["status": "unchanged", "errors": list], status: 422))
        }
        let mailbox = loop.mailbox
        controls.reload { faults in
            mailbox.post { loop in (loop.owner as? AdminServer)?.take(.reloaded(faults), of: 0, for: gathering) }
        }
    }

    // MARK: - Asking workers

    /// What a worker may answer.
    enum Answer: Sendable {
        case turned
        case report(WorkerReport)
        case streams([StreamEntry], total: Int)
        case live(WorkerReport, [StreamEntry], total: Int)
        case cancelled(Bool)
        case reloaded([String])
    }
    typealias Gathered = (_ answers: [Int: Answer], _ missing: [Int]) -> Void

    /// Answers that come in, until all are there or time is over.
    private final class Gathering: TimerHandler {
        unowned let admin: AdminServer
        let number: Int
        var awaited: Set<Int>
        var answers: [Int: Answer] = [:]
        let done: Gathered
        var timer = TimerID.none

        init(_ admin: AdminServer, _ number: Int, _ awaited: [Int], _ done: @escaping Gathered) {
            (self.admin, self.number, self.awaited, self.done) = (admin, number, Set(awaited), done)
        }

        func timerFired(_ timer: TimerID, on loop: EventLoop) { admin.finish(self) }
    }

    /// Asks every worker that lives, or only `chosen`, and calls `done` once.
    func gather(
        only chosen: Int? = nil, _ question: @escaping @Sendable (Worker, Int) -> Answer, _ done: @escaping Gathered
    ) {
        let asked = server.livingWorkers.filter { chosen == nil || $0 == chosen }
        let number = begin(awaiting: asked, patience: Self.patience, done)
        let mailbox = loop.mailbox
        for index in asked where unanswered[index] < Self.unansweredLimit {
            unanswered[index] += 1
            server.ask(index) { worker in
                let answer = question(worker, index)
                mailbox.post { loop in
                    guard let admin = loop.owner as? AdminServer else { return }
                    admin.unanswered[index] -= 1
                    admin.take(answer, of: index, for: number)
                }
            }
        }
    }

    private func begin(awaiting: [Int], patience: Interval, _ done: @escaping Gathered) -> Int {
        nextGathering += 1
        let gathering = Gathering(self, nextGathering, awaiting, done)
        gatherings[nextGathering] = gathering
        if awaiting.isEmpty {
            loop.afterTurn { [self] in finish(gathering) }
        } else {
            gathering.timer = loop.schedule(at: EventLoop.clock() + patience, handler: gathering)
        }
        return nextGathering
    }

    private func take(_ answer: Answer, of index: Int, for number: Int) {
        switch answer {
        case .report(let report), .live(let report, _, _): lastReports[index] = report
        default: break
        }
        guard let gathering = gatherings[number] else { return }
        gathering.awaited.remove(index)
        gathering.answers[index] = answer
        if gathering.awaited.isEmpty { finish(gathering) }
    }

    private func finish(_ gathering: Gathering) {
        guard gatherings.removeValue(forKey: gathering.number) != nil else { return }
        loop.cancel(gathering.timer)
        gathering.done(gathering.answers, gathering.awaited.sorted())
    }
}

extension AdminReply {
    static func json(_ value: JSONValue, status: Int = 200) -> AdminReply {
        var out = ByteQueue()
        value.append(to: &out)
        out.append("\n")
        return AdminReply(status: status, body: out.withUnsafeBytes { Array($0) })
    }

    static func message(_ status: Int, _ text: String) -> AdminReply {
        json(["error": ["message": JSONValue(text)]], status: status)
    }
}
