import SluiceBytes
import SluiceHTTP

/// One HTTP/2 connection at an upstream, which serves many requests at once.
final class HTTP2Upstream {
    private final class Answering {
        let slot: Int
        let work: Work
        var pieces: ArraySlice<(delay: Int, bytes: [UInt8])> = []
        var endOffset = Int.max
        var faultOffset = Int.max
        var fault: UpstreamFault?
        var sent = 0
        var isWaiting = false

        init(_ slot: Int, _ work: Work) { (self.slot, self.work) = (slot, work) }
    }
    private unowned let upstream: Upstream
    private var world: World { upstream.world }
    private let socket: Socket
    private let session: HTTP2Session
    private var bodies: [Int: [UInt8]] = [:]
    private var answers: [Int: Answering] = [:]
    private var outgoing: [UInt8] = []
    private var isOver = false
    private var isFlushDue = false

    init(_ upstream: Upstream, _ socket: Socket) throws {
        (self.upstream, self.socket) = (upstream, socket)
        session = try HTTP2Session(.server, limits: HTTP2Limits())
        socket.changed = { [weak self] in self?.update() }
        flush()
    }

    private var now: Instant { world.timeline.instant }

    private func update() {
        while !isOver, socket.unread > 0 {
            let bytes = socket.read(64 << 10)
            do throws(HTTP2Error) {
                try session.receive(bytes.span, now: now)
            } catch {
                world.violate("a request that is not HTTP/2: \(error)")
                return end()
            }
            handle(bytes)
        }
        if !isOver, socket.hasFIN || socket.isDead { return end() }
        flush()
        for slot in answers.keys.sorted() { if let answer = answers[slot] { advance(answer) } }
    }

    private func handle(_ bytes: [UInt8]) {
        while !isOver, let event = session.nextEvent() {
            switch event {
            case .head(let slot): if (try? session.takeRequest(slot)) != nil { bodies[slot] = [] }
            case .body(let slot, let range): bodies[slot]? += bytes[range]
            case .end(let slot): if let body = bodies.removeValue(forKey: slot) { begin(slot, body) }
            case .closed(let slot, _):
                bodies[slot] = nil
                guard let answer = answers.removeValue(forKey: slot) else { continue }
                if answer.work.isActive, answer.sent < answer.endOffset { answer.work.wasCancelled = true }
                world.workEnded(answer.work)
            case .goAway, .settings, .pong, .interim, .drained: break
            }
        }
    }

    private func end(resetting: Bool = false) {
        guard !isOver else { return }
        isOver = true
        for answer in answers.values.sorted(by: { $0.slot < $1.slot }) {
            // Whoever shared the connection is cut with it.
            answer.work.plan.excuses.insert("shared connection ended")
            world.workEnded(answer.work)
        }
        answers = [:]
        world.excuse(sharing: socket)
        if resetting { socket.abort() } else { socket.close() }
    }

    private func flush() {
        guard !isOver, socket.isConnected else { return }
        session.pump(room: max(0, (64 << 10) - outgoing.count), now: now)
        handle([])
        session.output.withUnsafeBytes { outgoing += $0 }
        session.output.removeAll()
        while !outgoing.isEmpty {
            guard let count = socket.send(outgoing[...]) else { return end() }
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

    private func begin(_ slot: Int, _ body: [UInt8]) {
        guard let (work, script, isStream) = upstream.begin(body, socket) else { return end() }
        let plan = work.plan.answer
        let answer = Answering(slot, work)
        answers[slot] = answer
        answer.fault = plan.fault
        var (status, type, events, endCount) = (200, script.contentType, script.events, script.endCount)
        switch plan.fault {
        case .refuse? where work.plan.works.count == 1:
            answers[slot] = nil
            world.workEnded(work)
            session.reset(slot, HTTP2Code.refusedStream)
            return flushSoon(0)
        case .goAway?: session.goAway(HTTP2Code.noError)
        case .status(let code)?:
            (status, type, endCount) = (code, "application/json", .max)
            events = [Array("{\"error\":{\"message\":\"no\",\"type\":\"t\"}}".utf8)]
        case .html?:
            (type, events, endCount) = ("text/html", [Array("<html></html>".utf8)], .max)
        case .endEarly(let at)? where isStream:
            (events, endCount) = (Array(events.prefix(min(endCount - 1, Int(Double(events.count) * at)))), .max)
        case .errorEvent(let at)? where isStream:
            events = Array(events.prefix(min(endCount - 1, Int(Double(events.count) * at))))
            events.append(AnswerScript.error(upstream.dialect))
            endCount = .max
        default: break
        }
        var offset = 0
        var index = 0
        while index < events.count {
            let group = events[index..<min(events.count, index + upstream.random.within(1...plan.burst))]
            let bytes = Array(group.joined())
            if group.indices.contains(endCount - 1) {
                answer.endOffset = offset + group[..<endCount].reduce(0) { $0 + $1.count }
            }
            index += group.count
            offset += bytes.count
            answer.pieces.append((upstream.random.within(plan.tokenDelay), bytes))
        }
        switch plan.fault {
        case .close(let at)?, .reset(let at)?, .stall(let at)?, .garbage(let at)?:
            answer.faultOffset = Int(Double(offset) * at)
        case .neverEnds?: answer.faultOffset = offset
        case .endEarly? where !isStream, .errorEvent? where !isStream: answer.faultOffset = offset / 2
        default: break
        }
        answer.isWaiting = true
        world.timeline.after(plan.headDelay) { [weak self] in
            guard let self, !isOver, answers[slot] === answer else { return }
            answer.isWaiting = false
            var head = ResponseHead(status: status)
            head.fields.append("content-type", type)
            session.respond(slot, head, length: .chunked, isLast: false)
            flush()
            advance(answer)
        }
    }

    /// Sends the next piece when its time has come and the one before is out.
    private func advance(_ answer: Answering) {
        guard !isOver, !answer.isWaiting, answers[answer.slot] === answer, session.waitingBytes(answer.slot) == 0 else {
            return
        }
        if answer.sent >= answer.faultOffset { return perform(answer) }
        guard let next = answer.pieces.popFirst() else {
            var empty = ByteQueue()
            session.send(answer.slot, &empty, isLast: true, room: 64 << 10, now: now)
            answer.isWaiting = true
            return flush()
        }
        answer.isWaiting = true
        world.timeline.after(next.delay) { [weak self] in
            guard let self, !isOver, answers[answer.slot] === answer else { return }
            answer.isWaiting = false
            let bytes = next.bytes.prefix(answer.faultOffset - answer.sent)
            var queue = ByteQueue()
            queue.append(Array(bytes))
            answer.sent += bytes.count
            world.active(answer.work.plan)
            if answer.sent >= answer.endOffset - 1 { answer.work.plan.endSent = true }
            session.send(answer.slot, &queue, isLast: false, room: 64 << 10, now: now)
            flush()
            advance(answer)
        }
    }

    private func perform(_ answer: Answering) {
        world.note("fault", answer.work.plan.id, answer.sent)
        answer.isWaiting = true
        switch answer.fault {
        case .stall?, .neverEnds?: break
        case .close?: end()
        case .garbage?:
            var garbage = ByteQueue()
            garbage.append("\u{1}}]]<<garbage\n\n\n")
            session.send(answer.slot, &garbage, isLast: true, room: 64 << 10, now: now)
            flush()
        case .reset? where upstream.random.chance(30): end(resetting: true)
        default:
            session.reset(answer.slot, HTTP2Code.internalError)
            flush()
        }
    }
}
