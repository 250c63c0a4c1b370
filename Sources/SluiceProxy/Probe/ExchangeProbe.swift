import SluiceBytes
import SluiceConfig
import SluiceHTTP
import SluiceIO
import SluiceStreams

/// What stands in place of a route's name in the log; no route is called so.
enum ProbePath { static let label = "(probe)" }

/// Probe streams: with `probe: on` a request with the field `Sluice-Probe` gets one, on whatever path it comes, so that it takes the very
/// way that the requests of that path take. No route, provider or limit of a route has a part in it.
extension Exchange {
    /// Call once, when the head is there. False: the request asks for none, and goes its usual way.
    func answersProbe() -> Bool {
        guard let spec = worker.snapshot.configuration.probe, let wish = head.fields.first(named: probeField),
            head.method != "HEAD", head.method != "CONNECT"
        else { return false }
        record.route = ProbePath.label
        record.path = RequestTarget(head.target).normalizedPath ?? "-"
        if let key = spec.key, !isKey(head.fields.first(named: probeKeyField) ?? "", key.revealed) {
            return refuseProbe(ProxyError(.forbidden, .client, "the probe needs its key"))
        }
        if wish.hasPrefix("status=") { return tellProbe(String(wish.dropFirst(7))) }
        guard let plan = ProbePlan(wish) else {
            return refuseProbe(ProxyError(.badRequest, .client, "this is no plan of a probe, or too long a one"))
        }
        guard worker.shared.probes.begin(plan.id, limit: spec.concurrent, at: now) else {
            worker.metrics.probesRefused += 1
            return refuseProbe(
                ProxyError(.rateLimited("concurrent"), .client, "over the limit (\(spec.concurrent) probes at a time)"))
        }
        worker.metrics.probes += 1
        let serving = ProbeServing(plan, hello: arrival, exchange: self)
        probe = serving
        // Nothing is waited for but the client.
        enter(.following)
        serving.play()
        return true
    }

    private var probeField: String { ProbePlan.field.description }
    private var probeKeyField: String { ProbePlan.keyField.description }

    private func refuseProbe(_ error: ProxyError) -> Bool {
        fail(error, fields: [("Sluice-Probe", "refused")])
        return true
    }

    /// Takes as long for every wrong key of the same length.
    private func isKey(_ given: String, _ key: String) -> Bool {
        let (given, key) = (Array(given.utf8), Array(key.utf8))
        guard given.count == key.count else { return false }
        return zip(given, key).reduce(0) { $0 | ($1.0 ^ $1.1) } == 0
    }

    /// What became of a stream: where its client has left, how long ago that was noticed here.
    private func tellProbe(_ id: String) -> Bool {
        var state: JSONValue = ["state": "unknown"]
        if ProbePlan.isID(id), let entry = worker.shared.probes.look(id) {
            let ago = worker.loop.readClock() - entry.since
            state = [
                "state": JSONValue(entry.state.rawValue), "events": JSONValue(entry.events),
                "ago": JSONValue(Int(clamping: ago.nanoseconds / 1_000)),
            ]
        }
        let body = state.serialized()
        var fields = HeaderFields()
        fields.append("Content-Type", "application/json")
        fields.append("Cache-Control", "no-store")
        fields.append("Sluice-Probe", "status")
        fields.append("X-Request-Id", record.requestID)
        isCommitted = true
        record.status = 200
        client.sendHead(ResponseHead(status: 200, fields: fields), length: .fixed(body.count))
        openBody()
        worker.scratch.append(body)
        flushBody(isLast: true)
        end("probe")
        return true
    }

    /// Sends the head, the first time.
    func commitProbe(_ plan: ProbePlan) {
        guard !isCommitted else { return }
        var fields = HeaderFields()
        fields.append("Content-Type", plan.framing.contentType)
        if !plan.isPlain {
            fields.append("Cache-Control", "no-cache, no-transform")
            fields.append("X-Accel-Buffering", "no")
        }
        fields.append("Sluice-Probe", plan.id)
        fields.append("X-Request-Id", record.requestID)
        isCommitted = true
        record.status = 200
        client.sendHead(ResponseHead(status: 200, fields: fields), length: .chunked)
    }

    // MARK: - How the request arrived

    /// Those whose values tell of the way; of others, only that they came.
    private static let shown: Set<String> = [
        "via", "forwarded", "x-forwarded-for", "x-forwarded-proto", "x-forwarded-host", "x-forwarded-port",
        "x-forwarded-server", "x-real-ip", "accept-encoding", "connection", "te", "cdn-loop", "cf-ray", "cf-visitor",
        "cf-connecting-ip", "x-amzn-trace-id", "x-amz-cf-id", "x-envoy-external-address", "x-cloud-trace-context",
        "user-agent",
    ]

    /// JSON, without braces: the protocol and the fields as they were here, and whom Sluice takes for the client.
    private var arrival: String {
        let peer = client.peerConnection?.peer.description ?? ""
        let version = head.version == .http2 ? "2" : head.version == .http11 ? "1.1" : "1.0"
        let fields = (0..<head.fields.count).compactMap { index -> JSONValue? in
            let name = head.fields.nameString(at: index).lowercased()
            if name == probeField || name == probeKeyField { return nil }
            return Self.shown.contains(name)
                ? [JSONValue(name), JSONValue(head.fields.valueString(at: index))] : [JSONValue(name)]
        }
        let told: JSONValue = [
            "http": JSONValue(version), "tls": .bool(client.isTLS), "peer": JSONValue(peer),
            "client": JSONValue(record.client), "method": JSONValue(head.method), "target": JSONValue(head.target),
            "host": JSONValue(head.authority), "fields": .array(fields),
        ]
        return String(decoding: told.serialized().dropFirst().dropLast(), as: UTF8.self)
    }
}
