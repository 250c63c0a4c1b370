import SluiceBytes
import SluiceConfig
import SluiceHTTP
import SluiceStreams

/// The exchange that makes an answer which outlives its client.
extension Exchange {
    /// Whose answers are whose: those of one route, and there of one client, as far as the route knows its clients.
    func scope(_ route: RouteEntry) -> String {
        Self.scope(route, owner: owner)
    }

    static func scope(_ route: RouteEntry, owner: String) -> String {
        "\(route.spec.host ?? "")\(route.spec.label) \(owner)"
    }

    /// The request is whole, and is what an upstream can be asked: from here on the answer goes on without its client.
    func beginGeneration(_ route: RouteEntry, _ spec: ResumeSpec) {
        guard generation == nil, attempts.number == 0, expectation.wantsStream, !isCommitted else { return }
        let facts = GenerationFacts(
            id: Generation.makeID(), alias: clientsName(route), scope: scope(route), format: expectation.format,
            bufferBytes: spec.bufferBytes)
        guard
            let made = worker.generations.begin(facts, spec, drains: route.spec.onDisconnect == .drain, for: self)
        else { return }
        (generation, client) = (made, made)
        record.generation = facts.id
    }

    /// What the client calls the answer: its chat's id, or `?id=`.
    private func clientsName(_ route: RouteEntry) -> String? {
        let name: String?
        if route.spec.request == .vercelUI {
            var body = ByteQueue()
            swap(&body, &requestBody)
            name = Self.chatID(body.span)
            swap(&body, &requestBody)
        } else {
            name = RequestTarget(head.target).value(named: "id")
        }
        return name.flatMap { StreamName.isAcceptable($0) ? $0 : nil }
    }

    private static func chatID(_ body: Span<UInt8>) -> String? {
        var scanner = JSONScanner(body)
        guard scanner.enterObject() else { return nil }
        var id: Range<Int>?
        while let key = scanner.nextKey() {
            guard let value = scanner.value() else { return nil }
            if ASCII.equal(body.extracting(key), "id") { id = value }
        }
        guard let id, id.count <= 8 * StreamName.limitBytes else { return nil }
        let value = JSONValue.parse(body.extracting(id))
        guard case .string(let text)? = value else { return nil }
        return text.text
    }

    /// Nobody wants the answer any more: its upstream is stopped, and who may still come is told.
    func stopGeneration(_ error: ProxyError) {
        guard phase != .over else { return }
        if run?.isTask == true, case .stopped = error.kind { return cancelTask() }
        letGoOfUpstream()
        noteCancel()
        endAttempt(.abandoned)
        fail(error)
    }

    /// A silence, towards those that read what can be read on. It is no part of the answer.
    func sendReadersKeepalive() {
        var bytes = ByteQueue()
        if following != nil { return sendFollowersKeepalive() }
        guard let generation else { return }
        if bridge?.keepalive(into: &bytes) == true {
            record.pings += 1
            generation.keepalive(&bytes)
        } else {
            generation.ping()
        }
    }

    /// A browser that loses an event stream asks again: soon, and not before that.
    func openEventSource() {
        guard head.method == "GET", generation == nil, expectation.format == .sseText || expectation.format == .sseJSON
        else { return }
        openBody()
        worker.scratch.append("retry: ")
        worker.scratch.append(decimal: EventStamper.retryMilliseconds)
        worker.scratch.append("\n\n")
    }
}
