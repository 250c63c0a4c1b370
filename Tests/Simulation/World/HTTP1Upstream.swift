import SluiceBytes
import SluiceHTTP

/// One HTTP/1.1 connection at an upstream.
final class HTTP1Upstream {
    private unowned let upstream: Upstream
    private var world: World { upstream.world }
    private let socket: Socket
    private var parser = HTTP1RequestParser()
    private var body: [UInt8] = []
    private var isOver = false

    private var work: Work?
    /// What is to be sent, each piece so many nanoseconds after the one before.
    private var pieces: ArraySlice<(delay: Int, bytes: [UInt8])> = []
    private var outgoing: [UInt8] = []
    private var isWaiting = false
    private var sent = 0
    /// By so many bytes the stream's own end is sent.
    private var endOffset = 0
    private var faultOffset = Int.max
    private var fault: UpstreamFault?

    init(_ upstream: Upstream, _ socket: Socket) {
        (self.upstream, self.socket) = (upstream, socket)
        socket.changed = { [weak self] in self?.update() }
    }

    private func update() {
        while !isOver, socket.unread > 0 { receive(socket.read(64 << 10)) }
        if !isOver, socket.hasFIN || socket.isDead { return cancelled() }
        pump()
    }

    private func receive(_ bytes: [UInt8]) {
        if let plan = work?.plan { world.active(plan) }
        var offset = 0
        do throws(HTTPError) {
            while true {
                switch try parser.next(bytes.span, at: &offset) {
                case .needMore: return
                case .head:
                    if work != nil { return world.violate("a second request on a connection that is busy") }
                    body = []
                case .body(let range): body += bytes[range]
                case .end: begin()
                case .interim: break
                }
            }
        } catch {
            world.violate("a request that is not HTTP: \(error)")
            end()
        }
    }

    private func cancelled() {
        if work?.isActive == true { work?.wasCancelled = true }
        end()
    }

    private func end() {
        guard !isOver else { return }
        isOver = true
        finish()
        socket.close()
    }

    private func finish() {
        if let work { world.workEnded(work) }
        work = nil
    }

    // MARK: - Answers

    private func begin() {
        guard let (work, script, isStream) = upstream.begin(body, socket) else { return end() }
        self.work = work
        let plan = work.plan.answer
        fault = plan.fault
        (sent, faultOffset, endOffset) = (0, .max, .max)
        var status = 200
        var (type, events) = (script.contentType, script.events)
        var endCount = script.endCount
        switch fault {
        case .status(let code)?:
            (status, type) = (code, "application/json")
            events = [Array("{\"error\":{\"message\":\"no\",\"type\":\"t\"}}".utf8)]
            endCount = .max
        case .html?:
            type = "text/html"
            events = [Array("<html><body>hello</body></html>".utf8)]
            endCount = .max
        case .endEarly(let at)? where isStream:
            events = Array(events.prefix(min(endCount - 1, Int(Double(events.count) * at))))
            endCount = .max
        case .errorEvent(let at)? where isStream:
            events = Array(events.prefix(min(endCount - 1, Int(Double(events.count) * at))))
            events.append(AnswerScript.error(upstream.dialect))
            endCount = .max
        default: break
        }
        frame(events, endCount, status, type, plan)
        if plan.closesAfter, fault == nil { fault = .close(at: 1) }
        let total = pieces.reduce(0) { $0 + $1.bytes.count }
        switch fault {
        case .close(let at)?, .reset(let at)?, .stall(let at)?, .garbage(let at)?: faultOffset = Int(Double(total) * at)
        case .neverEnds?: faultOffset = total - (plan.framing == .chunked ? 5 : 0)
        case .endEarly? where !isStream, .errorEvent? where !isStream: faultOffset = total / 2
        default: break
        }
        if plan.framing == .fixed, case .neverEnds? = fault { (fault, faultOffset) = (nil, .max) }
        send()
    }

    private func frame(_ events: [[UInt8]], _ endCount: Int, _ status: Int, _ type: String, _ plan: AnswerPlan) {
        var head = "HTTP/1.1 \(status) Sim\r\nContent-Type: \(type)\r\n"
        switch plan.framing {
        case .chunked: head += "Transfer-Encoding: chunked\r\n\r\n"
        case .fixed: head += "Content-Length: \(events.reduce(0) { $0 + $1.count })\r\n\r\n"
        case .untilClose: head += "Connection: close\r\n\r\n"
        }
        pieces = [(plan.headDelay, Array(head.utf8))]
        var offset = head.utf8.count
        var index = 0
        while index < events.count {
            let burst = upstream.random.within(1...plan.burst)
            let group = events[index..<min(events.count, index + burst)]
            let bytes = Array(group.joined())
            let framed =
                plan.framing == .chunked
                ? Array((String(bytes.count, radix: 16) + "\r\n").utf8) + bytes + Array("\r\n".utf8) : bytes
            pieces.append((upstream.random.within(plan.tokenDelay), framed))
            if group.indices.contains(endCount - 1) {
                let front = plan.framing == .chunked ? String(bytes.count, radix: 16).utf8.count + 2 : 0
                endOffset = offset + front + group[..<endCount].reduce(0) { $0 + $1.count }
            }
            offset += framed.count
            index += group.count
        }
        if plan.framing == .chunked { pieces.append((0, Array("0\r\n\r\n".utf8))) }
        if plan.framing == .untilClose, fault == nil { fault = .close(at: 1) }
    }

    private func send() {
        guard !isOver, !isWaiting, outgoing.isEmpty, let work else { return }
        if sent >= faultOffset { return perform(work) }
        guard let next = pieces.popFirst() else {
            // Ready for the next request.
            return finish()
        }
        isWaiting = true
        world.timeline.after(next.delay) { [weak self] in
            guard let self, self.work === work else { return }
            isWaiting = false
            outgoing = Array(next.bytes.prefix(faultOffset - sent))
            pump()
        }
    }

    private func pump() {
        guard !isOver, let work, !isWaiting else { return }
        while !outgoing.isEmpty {
            guard let count = socket.send(outgoing[...]) else { return cancelled() }
            if count == 0 { return }
            outgoing.removeFirst(count)
            sent += count
            world.active(work.plan)
            // The end of its last line, which not every reader waits for.
            if sent >= endOffset - 1 { work.plan.endSent = true }
        }
        send()
    }

    private func perform(_ work: Work) {
        world.note("fault", work.plan.id, sent)
        switch fault {
        case .reset?:
            isOver = true
            finish()
            socket.abort()
        case .stall?, .neverEnds?: isWaiting = true
        case .garbage?:
            (faultOffset, fault) = (.max, .close(at: 1))
            pieces = [(0, Array("\u{0}\u{1}}]]<<garbage\r\n\r\n\r\n".utf8))]
            faultOffset = sent + 22
            (outgoing, endOffset) = ([], .max)
            send()
        default: end()
        }
    }
}
