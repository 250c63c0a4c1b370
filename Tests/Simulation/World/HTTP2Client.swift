import SluiceBytes
import SluiceHTTP

/// A client that asks many things at once over one HTTP/2 connection.
final class HTTP2Client: ClientActor {
    private unowned let world: World
    private let socket: Socket
    private let session: HTTP2Session
    private let closesAfter: Int?
    let plans: [Plan]
    private var slots: [Int: Plan] = [:]
    private var waiting: [Plan] = []
    private var outgoing: [UInt8] = []
    private var hasStarted = false
    private var isReading = false
    private var isOver = false
    private var isFlushDue = false

    init(_ plans: [Plan], world: World, socket: Socket, closesAfter: Int?) throws {
        (self.plans, self.world, self.socket, self.closesAfter) = (plans, world, socket, closesAfter)
        session = try HTTP2Session(.client, limits: HTTP2Limits())
        socket.changed = { [unowned self] in update() }
    }

    private var now: Instant { world.timeline.instant }

    private func update() {
        guard !isOver else { return }
        if !socket.isConnected {
            if socket.isDead { fail() }
            return
        }
        if !hasStarted {
            hasStarted = true
            for plan in plans {
                world.timeline.after(plan.thinking) { [weak self] in
                    guard let self, !isOver else { return }
                    waiting.append(plan)
                    begin()
                }
            }
        }
        flush()
        read()
    }

    // MARK: - Requests

    private func begin() {
        while !isOver, let plan = waiting.first, session.canOpen {
            waiting.removeFirst()
            var head = RequestHead(method: "POST", target: plan.path, authority: "sim", version: .http2)
            head.fields.append("content-type", "application/json")
            if plan.takesGzip { head.fields.append("accept-encoding", "gzip") }
            let body = plan.request
            guard let slot = session.request(head, isTLS: false, length: .fixed(body.count)) else { return }
            world.note("request", plan.id, plan.padding)
            slots[slot] = plan
            world.active(plan)
            if case .after(let delay)? = plan.leave {
                world.timeline.after(delay) { [weak self] in self?.leave(plan) }
            }
            sendBody(body[...], slot, plan)
        }
        if !waiting.isEmpty, session.isRetired { failWaiting() }
        flush()
    }

    private func sendBody(_ rest: ArraySlice<UInt8>, _ slot: Int, _ plan: Plan) {
        guard !isOver, slots[slot] === plan else { return }
        var piece = ByteQueue()
        let taken = rest.prefix(plan.bodyPiece)
        piece.append(Array(taken))
        let next = rest.dropFirst(taken.count)
        session.send(slot, &piece, isLast: next.isEmpty, room: 64 << 10, now: now)
        world.active(plan)
        flush()
        guard !next.isEmpty else { return }
        world.timeline.after(plan.bodyPause) { [weak self] in self?.sendBody(next, slot, plan) }
    }

    private func flush() {
        guard !isOver, socket.isConnected else { return }
        session.pump(room: max(0, (64 << 10) - outgoing.count), now: now)
        handle([])
        session.output.withUnsafeBytes { outgoing += $0 }
        session.output.removeAll()
        while !outgoing.isEmpty {
            guard let count = socket.send(outgoing[...]) else { return read() }
            if count == 0 { return }
            outgoing.removeFirst(count)
        }
        if session.wantsToSend { flushSoon(microseconds(100)) }
    }

    /// Not from inside the handling of events, whose bytes it would not have.
    private func flushSoon(_ delay: Int) {
        guard !isFlushDue else { return }
        isFlushDue = true
        world.timeline.after(delay) { [weak self] in
            self?.isFlushDue = false
            self?.flush()
        }
    }

    // MARK: - Answers

    private func read() {
        guard !isReading, !isOver, socket.unread > 0 || socket.hasFIN || socket.isDead else { return }
        isReading = true
        let pace = plans[0].pace
        world.timeline.after(pace.interval) { [weak self] in
            guard let self else { return }
            isReading = false
            guard !isOver else { return }
            let bytes = socket.read(pace.bytes)
            if bytes.isEmpty { return fail() }
            do throws(HTTP2Error) {
                try session.receive(bytes.span, now: now)
            } catch {
                return world.violate("an answer that is not HTTP/2: \(error)")
            }
            handle(bytes)
            begin()
            read()
        }
    }

    private func handle(_ bytes: [UInt8]) {
        while !isOver, let event = session.nextEvent() {
            switch event {
            case .head(let slot):
                guard let plan = slots[slot] else { continue }
                do throws(HTTPError) {
                    plan.begin(try session.takeResponse(slot))
                } catch {
                    world.violate("a head that is not HTTP: \(error)")
                }
            case .body(let slot, let range):
                guard let plan = slots[slot] else { continue }
                world.active(plan)
                plan.body += bytes[range]
                if case .atByte(let limit)? = plan.leave, plan.body.count >= limit { leave(plan) }
                if !isOver { stopIfDue(plan, slot) }
            case .end(let slot):
                guard let plan = slots.removeValue(forKey: slot) else { continue }
                world.finish(plan, .answered(status: plan.status))
                endIfDone()
            case .closed(let slot, let code):
                guard let plan = slots.removeValue(forKey: slot) else { continue }
                world.note("stream closed", plan.id, Int(code))
                if code == HTTP2Code.refusedStream { plan.excuses.insert("refused stream") }
                world.finish(plan, .aborted)
                endIfDone()
            case .goAway, .settings, .pong, .interim, .drained: break
            }
        }
    }

    private func stopIfDue(_ plan: Plan, _ slot: Int) {
        guard let stop = plan.pace.stopAfter, plan.body.count >= stop else { return }
        plan.pace.stopAfter = nil
        session.setReading(slot, false)
        world.timeline.after(plan.pace.stopFor ?? Setting.patience) { [weak self] in
            guard let self, !isOver, slots[slot] === plan else { return }
            if plan.pace.stopFor == nil { return leave(plan) }
            session.setReading(slot, true)
            flush()
        }
    }

    // MARK: - Ending

    private func endIfDone() {
        guard plans.allSatisfy({ $0.outcome != nil }), let closesAfter else { return }
        world.timeline.after(closesAfter) { [weak self] in self?.close() }
    }

    private func failWaiting() {
        for plan in waiting {
            plan.excuses.insert("GOAWAY before it was asked")
            world.finish(plan, .aborted)
        }
        waiting = []
        endIfDone()
    }

    private func fail() {
        close()
        waiting = []
        for plan in plans where plan.outcome == nil {
            if !slots.values.contains(where: { $0 === plan }) { plan.excuses.insert("closed before it was asked") }
            if socket.peer?.isSacrificed == true { plan.excuses.insert("ECONNABORTED") }
            world.finish(plan, .aborted)
        }
    }

    /// Resets the stream, or leaves with all of them.
    private func leave(_ plan: Plan) {
        guard !isOver, plan.outcome == nil, let slot = slots.first(where: { $0.value === plan })?.key else { return }
        world.note("leave", plan.id, plan.body.count)
        if plan.leavesByReset {
            slots[slot] = nil
            session.reset(slot, HTTP2Code.cancel)
            world.finish(plan, .left)
            world.streamLeft(plan)
            flushSoon(0)
            return endIfDone()
        }
        isOver = true
        socket.close()
        for plan in plans where plan.outcome == nil { world.finish(plan, .left) }
    }

    func close() {
        guard !isOver else { return }
        isOver = true
        socket.close()
    }
}
