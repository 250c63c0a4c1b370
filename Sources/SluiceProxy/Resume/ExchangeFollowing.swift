import SluiceBytes
import SluiceConfig
import SluiceHTTP
import SluiceIO
import SluiceStreams

/// An exchange without an upstream: it reads an answer that another one makes, or has made, or it ends that one.
extension Exchange {
    // MARK: - What is wanted

    /// A request at `PATH/NAME/stream` or `PATH/NAME`.
    func choose(_ route: RouteEntry, _ wish: GenerationWish) {
        self.route = route
        record.route = route.spec.label
        guard admit(route) else { return }
        tellErrors(of: route)
        deadlines.choose(Timeouts(), keepalive: route.spec.keepalive, earlyHeaders: nil)
        guard let name = wish.name else { return refuseName() }
        switch wish.kind {
        case .stop: following = Following(.stop(Following.names(name)))
        case .follow:
            if head.fields.contains("last-event-id") { return findEvent() }
            var position: Int?
            if let text = RequestTarget(head.target).value(named: "from") {
                guard let number = StreamName.position(text) else {
                    return fail(ProxyError(.badRequest, .client, "'from' is not a count of bytes"))
                }
                position = number
            }
            following = Following(.read(Following.names(name), position: position))
        }
    }

    /// A request at the route itself may ask for an answer that has begun too.
    func findWish(_ route: RouteEntry) {
        let isGET = head.method == "GET"
        guard route.spec.resume != nil else {
            // EventSource asks again whatever the route can do; to begin anew is never what its reader wants.
            if isGET, route.spec.request == .prompt, head.fields.contains("last-event-id") {
                following = Following(.nothing)
            }
            return
        }
        if head.fields.contains("last-event-id") { return findEvent() }
        guard isGET, route.spec.request == .prompt, let name = RequestTarget(head.target).value(named: "id") else {
            return
        }
        if StreamName.isAcceptable(name) { following = Following(.readOrBegin(name)) } else { refuseName() }
    }

    private func findEvent() {
        guard let text = head.fields.first("last-event-id"), let event = StreamName.eventID(text) else {
            return refuseName()
        }
        switch event.position {
        case .byte(let position): following = Following(.read([.id(event.generation)], position: position))
        case .end: following = Following(.nothing)
        case .none: following = Following(.unknown(event.generation))
        }
    }

    private func refuseName() {
        let limit = StreamName.limitBytes
        fail(ProxyError(.badRequest, .client, "no answer has such a name: 1 to \(limit) visible ASCII characters"))
    }

    // MARK: - Looking for it

    /// The request is whole.
    func beginFollowing() {
        guard let following, let route else { return }
        enter(.following)
        // For what has to be said before the answer's own format is known.
        if let format = try? UpstreamRequest.responseFormat(route, head) { expectation.format = format }
        switch following.wish {
        case .nothing: answerNothing()
        case .task: if let task = following.task { lookForTask(task) }
        case .unknown(let name):
            following.id = name
            replayFailed(.unknown)
        case .stop(let names): look(names, route) { $0.stop($1) }
        case .readOrBegin(let name): look([.alias(name)], route) { $0.readOrBegin($1) }
        case .read(let names, let position): look(names, route) { $0.read($1, from: position) }
        }
    }

    private typealias Found = Result<GenerationDirectory.Found?, ReplayFailure>

    private func look(_ names: [GenerationName], _ route: RouteEntry, _ then: @escaping (Exchange, Found) -> Void) {
        if case .id(let id)? = names.first { following?.id = id }
        let store = route.spec.resume?.store ?? .memory
        worker.generations.find(names, scope: scope(route), in: store) { [weak self] found in
            guard let self, phase == .following else { return }
            then(self, found)
        }
    }

    private func stop(_ found: Found) {
        switch found {
        case .success(let known?):
            worker.metrics.resumption.stopped += 1
            record.resumed = known.facts.id
            worker.generations.requestStop(known.facts.id)
            answerEmpty("done")
        case .success(nil):
            worker.metrics.resumption.unknown += 1
            fail(ProxyError(.notFound, .client, "no such answer"))
        case .failure: failStore()
        }
    }

    private func readOrBegin(_ found: Found) {
        guard case .success(.some) = found else {
            // A store that is away keeps nobody from asking.
            following = nil
            return beginAttempt()
        }
        read(found, from: 0)
    }

    private func read(_ found: Found, from position: Int?) {
        // useChat asks whether something runs each time that it is shown: what it has got whole, it does not want again.
        let wantsOnlyNew = position == nil && route?.spec.request == .vercelUI
        following?.wantsOnlyNew = wantsOnlyNew
        switch found {
        case .failure: failStore()
        case .success(nil): wantsOnlyNew ? answerNothing() : replayFailed(.unknown)
        case .success(let known?) where known.isEnded && wantsOnlyNew: answerNothing()
        case .success(let known?): follow(known, from: position ?? 0)
        }
    }

    func failStore() {
        worker.metrics.resumption.failed += 1
        fail(ProxyError(.unavailable, .proxy, "the store of answers cannot be reached"))
    }

    private func follow(_ known: GenerationDirectory.Found, from position: Int) {
        guard let following else { return }
        (following.id, following.isEnded) = (known.facts.id, known.isEnded)
        (expectation.format, record.format) = (known.facts.format, known.facts.format)
        record.resumed = "\(known.facts.id)/\(position)"
        following.subscription = worker.generations.follow(known.facts.id, from: position, self)
    }

    // MARK: - Answers without one

    private func answerNothing() {
        worker.metrics.resumption.nothing += 1
        answerEmpty("nothing")
    }

    func answerEmpty(_ reason: String) {
        var fields = HeaderFields()
        fields.append("Cache-Control", "no-store")
        fields.append("X-Request-Id", record.requestID)
        commit(ResponseHead(status: 204, fields: fields), length: .none)
        send(isLast: true) { _ in }
        end(reason)
    }

    /// A stream with one error in the format's own words: a browser would take a status for a reason to ask no more, but tell its page
    /// nothing of it.
    private func answerFailure(_ error: ProxyError) {
        let format = expectation.format
        var words = ByteQueue()
        guard var encoder = StreamEncoders.make(format, options: EncoderOptions()),
            encoder.fail(error.streamFailure, into: &words) == .complete, following?.isBetweenEvents == true
        else {
            guard isCommitted else { return answerStatus(error) }
            client.abort()
            return end(error.reason)
        }
        closeEvents(&words)
        if !isCommitted {
            let head = ResponseFields.stream(
                encoder.contentType.description, encoder.fields, record.requestID, HeaderFields(), route)
            commit(head, length: .chunked)
        }
        send(isLast: true) { $0.append(words.span) }
        end(error.reason)
    }

    /// Not within what another exchange does just now.
    private func answerStatus(_ error: ProxyError) {
        worker.loop.afterTurn { [weak self] in self?.fail(error) }
    }

    /// What a browser sends back next time, and gets 204 for.
    private func closeEvents(_ words: inout ByteQueue) {
        guard expectation.format.stampStyle == .complete, let id = following?.id else { return }
        words.append("id: ")
        words.append(id.isEmpty ? "-" : id)
        words.append("/\(EventStamper.end)\n\n")
    }

    // MARK: - Sending

    /// What others have made must not wait where what this worker makes stands: it may be under way just now.
    func send(isLast: Bool, _ write: (inout ByteQueue) -> Void) {
        var run = ByteQueue()
        swap(&run, &worker.replayed)
        let mark = client.openBody(in: &run)
        write(&run)
        deadlines.clientWritten(at: now)
        client.flushBody(mark, &run, isLast: isLast)
        run.removeAll()
        swap(&run, &worker.replayed)
        guard !isLast, !isUpstreamPaused, client.isCongested else { return }
        isUpstreamPaused = true
        record.pauses += 1
        following?.subscription?.pause()
        arm()
    }

    func sendFollowersKeepalive() {
        guard client.waitingSince == nil, isCommitted, following?.isBetweenEvents == true,
            var encoder = StreamEncoders.make(expectation.format, options: EncoderOptions())
        else { return }
        var bytes = ByteQueue()
        guard encoder.keepalive(into: &bytes) else { return client.ping() }
        if expectation.format.stampStyle == .inEvents { EventKeepalive.withoutBlankLine(&bytes) }
        record.pings += 1
        send(isLast: false) { $0.append(bytes.span) }
    }

    /// The time for it is over, while the answer goes on elsewhere.
    func failFollowing(_ error: ProxyError) {
        following?.cancel()
        if following?.task != nil { return cutTask(error.reason) }
        answerFailure(error)
    }
}

extension Exchange: ReplayReader {
    func replayHead(_ head: ResponseHead) {
        guard phase == .following, let following else { return }
        worker.metrics.resumption.attached += 1
        if following.task != nil { return }
        var head = head
        head.fields.append("X-Request-Id", record.requestID)
        guard !following.isEnded else {
            following.head = head
            return
        }
        commitReplay(head)
        // So that whoever waits for the rest knows that it will come.
        worker.loop.afterTurn { [weak self] in
            if let self, phase == .following { client.flush() }
        }
    }

    private func commitReplay(_ head: ResponseHead) {
        following?.head = nil
        commit(head, length: .chunked)
    }

    func replayBytes(_ bytes: Span<UInt8>) {
        guard phase == .following, let following else { return }
        if let task = following.task { return taskBytes(task, bytes) }
        if let head = following.head { commitReplay(head) }
        following.note(bytes, hasBlankLines: expectation.format.stampStyle != nil)
        send(isLast: false) { $0.append(bytes) }
    }

    func replayEnded(_ ending: GenerationEnding) {
        guard phase == .following, let following else { return }
        following.subscription = nil
        if let task = following.task { return taskEnded(task) }
        switch ending {
        case .whole where !isCommitted: answerNothing()
        case .whole:
            send(isLast: true) { _ in }
            end("done")
        case .cut where !following.hasBytes && (!isCommitted || expectation.format.stampStyle == .complete):
            // Who asks again for the same would get the same.
            answerFailure(ProxyError(.closed(.body), .proxy, "the answer was cut off here"))
        case .cut:
            client.abort()
            end("eof")
        }
    }

    func replayFailed(_ failure: ReplayFailure) {
        guard phase == .following, let following else { return }
        following.subscription = nil
        if let task = following.task { return taskFailed(task, failure) }
        if failure == .unknown, following.wantsOnlyNew, !isCommitted { return answerNothing() }
        worker.metrics.resumption.count(failure)
        let message =
            switch failure {
            case .forgotten: "the answer went on, and what came next is not kept any more"
            case .unknown: "the answer is not known here, or not any more"
            case .ownerGone: "the server that made the answer is gone"
            case .storeAway: "the store of answers cannot be reached"
            }
        answerFailure(ProxyError(.notKept(failure), .proxy, message))
    }
}
