import SluiceBytes
import SluiceHTTP

/// A client that keeps one HTTP/1.1 connection and asks one thing after the other, or all at once.
final class HTTP1Client: ClientActor {
    private unowned let world: World
    private let socket: Socket
    private let pipelines: Bool
    private let version: ClientProtocol
    /// Nanoseconds from the last answer to the end of the connection; nil: the proxy may end it.
    private let closesAfter: Int?
    let plans: [Plan]
    private var nextRequest = 0
    private var current = 0
    private var outgoing: [UInt8] = []
    private var isSending = false
    private var isReading = false
    private var isStopped = false
    private var isOver = false
    private var parser = HTTP1ResponseParser()
    private var hasBegun = false

    init(
        _ plans: [Plan], world: World, socket: Socket, version: ClientProtocol, pipelines: Bool, closesAfter: Int?
    ) {
        (self.plans, self.world, self.socket) = (plans, world, socket)
        (self.version, self.pipelines, self.closesAfter) = (version, pipelines, closesAfter)
        socket.changed = { [unowned self] in update() }
    }

    private var plan: Plan? { current < plans.count ? plans[current] : nil }

    private func update() {
        guard !isOver else { return }
        if !socket.isConnected {
            if socket.isDead { fail() }
            return
        }
        if nextRequest == 0 { request() }
        send()
        read()
    }

    // MARK: - Requests

    private func request() {
        guard !isOver, nextRequest < plans.count else { return }
        let plan = plans[nextRequest]
        nextRequest += 1
        world.timeline.after(plan.thinking) { [weak self] in self?.begin(plan) }
    }

    private func begin(_ plan: Plan) {
        guard !isOver else { return }
        world.note("request", plan.id, plan.padding)
        let body = plan.request
        let head =
            "POST \(plan.path) HTTP/1.\(version == .old ? 0 : 1)\r\nHost: sim\r\nContent-Type: application/json\r\n"
            + (plan.takesGzip ? "Accept-Encoding: gzip\r\n" : "")
            + "\(version == .closing ? "Connection: close\r\n" : "")Content-Length: \(body.count)\r\n\r\n"
        outgoing += Array(head.utf8) + body
        world.active(plan)
        if case .after(let delay)? = plan.leave {
            world.timeline.after(delay) { [weak self] in self?.leave(plan) }
        }
        send()
        if pipelines { request() }
    }

    /// In the pieces, and with the pauses, of the plan whose turn it is.
    private func send() {
        guard !isSending, !isOver, !outgoing.isEmpty, nextRequest > 0 else { return }
        let plan = plans[nextRequest - 1]
        let piece = outgoing.prefix(plan.bodyPiece)
        guard let count = socket.send(piece) else { return read() }
        outgoing.removeFirst(count)
        if count > 0 { noteActivity() }
        guard !outgoing.isEmpty, count > 0 else { return }
        isSending = true
        world.timeline.after(plan.bodyPause) { [weak self] in
            self?.isSending = false
            self?.send()
        }
    }

    private func noteActivity() {
        for plan in plans where plan.outcome == nil && plan.lastActivity > 0 { world.active(plan) }
    }

    // MARK: - Answers

    private func read() {
        guard !isReading, !isOver, !isStopped else { return }
        guard socket.unread > 0 || socket.hasFIN || socket.isDead else { return }
        isReading = true
        world.timeline.after(plan?.pace.interval ?? 0) { [weak self] in
            guard let self else { return }
            isReading = false
            guard !isOver, !isStopped else { return }
            let bytes = socket.read(plan?.pace.bytes ?? 1 << 20)
            if bytes.isEmpty { ended() } else { take(bytes) }
            read()
        }
    }

    private func take(_ bytes: [UInt8]) {
        noteActivity()
        var offset = 0
        do throws(HTTPError) {
            while !isOver {
                if !hasBegun {
                    if offset == bytes.count { return }
                    guard plan != nil else {
                        return world.violate("bytes for a client that had asked for nothing more")
                    }
                    hasBegun = true
                    parser.begin(requestMethod: "POST")
                }
                switch try parser.next(bytes.span, at: &offset) {
                case .needMore: return
                case .interim: break
                case .head(let head, _): plan?.begin(head)
                case .body(let range): if let plan { add(bytes[range], to: plan) }
                case .end: complete()
                }
            }
        } catch {
            world.violate("an answer that is not HTTP: \(error)")
        }
    }

    private func add(_ bytes: ArraySlice<UInt8>, to plan: Plan) {
        plan.body += bytes
        if case .atByte(let limit)? = plan.leave, plan.body.count >= limit { return leave(plan) }
        if let stop = plan.pace.stopAfter, plan.body.count >= stop, !isStopped {
            plan.pace.stopAfter = nil
            isStopped = true
            // Who never reads again leaves in the end.
            world.timeline.after(plan.pace.stopFor ?? Setting.patience) { [weak self] in
                guard let self else { return }
                isStopped = false
                if plan.pace.stopFor == nil { leave(plan) }
                read()
            }
        }
    }

    private func complete() {
        guard let plan else { return }
        hasBegun = false
        current += 1
        world.finish(plan, .answered(status: plan.status))
        if current == plans.count {
            guard let closesAfter else { return }
            return world.timeline.after(closesAfter) { [weak self] in self?.close() }
        }
        if !pipelines { request() }
    }

    // MARK: - Ending

    private func ended() {
        guard !isOver else { return }
        if hasBegun, socket.hasFIN, (try? parser.finish()) == true { complete() }
        fail()
    }

    private func fail() {
        close()
        // What was asked after an answer that ended the connection was not lost by itself.
        let first = plan
        if socket.peer?.isSacrificed == true { first?.excuses.insert("ECONNABORTED") }
        for plan in plans where plan.outcome == nil {
            if plan !== first { plan.excuses.insert("behind an aborted answer") }
            world.finish(plan, .aborted)
        }
    }

    private func leave(_ plan: Plan) {
        guard !isOver, plan.outcome == nil else { return }
        world.note("leave", plan.id, plan.body.count)
        isOver = true
        if plan.leavesByReset { socket.abort() } else { socket.close() }
        for plan in plans where plan.outcome == nil { world.finish(plan, .left) }
    }

    func close() {
        guard !isOver else { return }
        isOver = true
        socket.close()
    }
}

/// One client's connection.
protocol ClientActor: AnyObject {
    var plans: [Plan] { get }
    func close()
}
