import SluiceBytes
import SluiceConfig
import SluiceHTTP
import SluiceIO
import SluiceStreams

/// What the page is told. Counters only grow; it makes rates of them itself.
extension AdminServer {
    private static let streamsLimit = 200

    // MARK: - Routes

    func tellRoutes(isTrusted: Bool) -> JSONValue {
        let configuration = server.configuration
        let listeners = zip(server.addresses, configuration.listeners).map { address, spec -> JSONValue in
            ["address": JSONValue(address.description), "tls": .bool(spec.tls != nil)]
        }
        let formats = StreamFormat.allCases.filter { $0 != .passthrough }.map { JSONValue($0.rawValue) }
        return [
            "mode": router.isDemo ? "demo" : "admin", "version": JSONValue(controls.version),
            "may_cancel": .bool(isTrusted), "listeners": .array(listeners), "formats": .array(formats),
            "routes": .array(configuration.routes.map { Self.document($0, configuration) }),
        ]
    }

    private static func document(_ route: Route, _ configuration: Configuration) -> JSONValue {
        var response = "auto"
        if case .format(let format) = route.response { response = format.rawValue }
        let (path, isPrefix) =
            switch route.path {
            case .exact(let path): (path, false)
            case .prefix(let path): (path, true)
            }
        let upstreams = route.choices.compactMap { choice in
            configuration.upstreams.indices.contains(choice.upstream) ? configuration.upstreams[choice.upstream] : nil
        }
        let conditions = route.conditions.map { condition -> JSONValue in
            JSONValue("\(subject(condition.subject)) = \(condition.glob)")
        }
        let auth = route.auth ?? configuration.auth
        return [
            "path": JSONValue(path), "prefix": .bool(isPrefix), "host": route.host.map { JSONValue($0) } ?? .null,
            "methods": .array(route.methods.map { JSONValue($0) }), "conditions": .array(conditions),
            "request": JSONValue(route.request.rawValue), "response": JSONValue(response),
            "upstreams": .array(upstreams.map { JSONValue($0.name) }),
            "model": (route.model ?? route.upstreams.first?.model).map { JSONValue($0) } ?? .null,
            "auth": .bool(auth != nil),
        ]
    }

    private static func subject(_ subject: Route.Subject) -> String {
        switch subject {
        case .body(let path): "body." + path.joined(separator: ".")
        case .header(let name): "header." + name
        case .query(let name): "query." + name
        case .path: "path"
        }
    }

    // MARK: - What happens now

    /// One round of questions gives both the counters and the streams.
    func tellLive(isTrusted: Bool, _ reply: @escaping (AdminReply) -> Void) {
        let limit = Self.streamsLimit
        gather({ worker, index in
            .live(worker.report(), worker.streams(worker: index, limit: limit), total: worker.streamCount)
        }) { [self] answers, missing in
            var (entries, total): ([StreamEntry], Int) = ([], 0)
            for case .live(_, let some, let count) in answers.values {
                entries += some
                total += count
            }
            entries.sort { ($0.ageMilliseconds, $0.serial) > ($1.ageMilliseconds, $1.serial) }
            let streams = entries.prefix(limit).map { Self.document($0, isTrusted: isTrusted) }
            forgetStopped()
            var sums = PageSums(lastReports.compactMap { $0 })
            sums.showsPlaces = isTrusted
            let now = EventLoop.clock()
            var document: [(key: String, value: JSONValue)] = [
                (key: "time_ms", value: JSONValue(Int(clamping: (now - Instant(nanoseconds: 0)).milliseconds))),
                (key: "uptime_s", value: JSONValue(max(0, EventLoop.unixTime() - Int(started)))),
                (key: "draining", value: .bool(server.isDraining)),
                (key: "workers", value: JSONValue(server.workerCount)),
                (key: "workers_missing", value: .array(missing.map { JSONValue($0) })),
                (key: "connections", value: JSONValue(server.shared.budget.count)),
                (key: "buffered_bytes", value: JSONValue(BufferedBytes.total)),
            ]
            document += sums.documents
            document += [(key: "total", value: JSONValue(total)), (key: "streams", value: .array(Array(streams)))]
            reply(.json(.object(document)))
        }
    }

    private static func document(_ entry: StreamEntry, isTrusted: Bool) -> JSONValue {
        guard !isTrusted, case .object(let members) = document(entry) else { return document(entry) }
        return .object(members.filter { $0.key != "client" && $0.key != "request_id" })
    }
}

/// What all workers counted, by route and by upstream.
struct PageSums {
    private struct Sum {
        /// Begun, ended otherwise than whole, left by their client.
        var (begun, failed, left) = (0, 0, 0)
        var (tokens, bytes) = (0, 0)
        var live = WorkerReport.Live()

        mutating func add(_ key: ExchangeMetrics.EndKey, _ counts: ExchangeMetrics.EndCounts) {
            begun += counts.exchanges
            tokens += counts.tokens
            bytes += counts.bytes
            switch key.reason {
            case "done", "preflight": break
            case "client_gone": left += counts.exchanges
            default: failed += counts.exchanges
            }
        }

        /// Those that live count as begun, with what they have brought so far.
        mutating func add(_ live: WorkerReport.Live) {
            begun += live.exchanges
            tokens += live.tokens
            bytes += live.sentBytes
            self.live.add(live)
        }

        func document(_ kind: String, _ name: String) -> [(key: String, value: JSONValue)] {
            [
                (key: kind, value: JSONValue(name)), (key: "begun", value: JSONValue(begun)),
                (key: "failed", value: JSONValue(failed)), (key: "left", value: JSONValue(left)),
                (key: "tokens", value: JSONValue(tokens)), (key: "bytes", value: JSONValue(bytes)),
                (key: "active", value: JSONValue(live.exchanges)), (key: "paused", value: JSONValue(live.paused)),
                (key: "buffered_bytes", value: JSONValue(live.bufferedBytes)),
            ]
        }
    }

    /// Addresses of upstreams are told.
    var showsPlaces = true
    private var routes: [String: Sum] = [:]
    private var upstreams: [String: Sum] = [:]
    private var places: [UpstreamGauges] = []
    private var firstToken = Histogram(Buckets.firstToken)
    private var gap = Histogram(Buckets.gap)

    init(_ reports: [WorkerReport]) {
        for report in reports {
            for (key, counts) in report.exchanges.ends {
                routes[key.route, default: Sum()].add(key, counts)
                if !key.upstream.isEmpty { upstreams[key.upstream, default: Sum()].add(key, counts) }
            }
            for (route, live) in report.live { routes[route, default: Sum()].add(live) }
            for (upstream, live) in report.liveByUpstream where !upstream.isEmpty {
                upstreams[upstream, default: Sum()].add(live)
            }
            for counts in report.exchanges.models.values {
                firstToken.add(counts.firstToken)
                gap.add(counts.gap)
            }
            places += report.upstreams
        }
    }

    var documents: [(key: String, value: JSONValue)] {
        let routes = self.routes.sorted { $0.key < $1.key }.map { JSONValue.object($0.value.document("route", $0.key)) }
        let names = Set(self.upstreams.keys).union(places.map(\.upstream)).sorted()
        let upstreams = names.map { name -> JSONValue in
            var members = (self.upstreams[name] ?? Sum()).document("upstream", name)
            members.append((key: "places", value: .array(documents(ofPlaces: name))))
            return .object(members)
        }
        return [
            (key: "routes", value: .array(routes)), (key: "upstreams", value: .array(upstreams)),
            (key: "first_token", value: Self.document(firstToken)), (key: "gap", value: Self.document(gap)),
        ]
    }

    /// Every worker judges for itself: a place is well if all of them find it so.
    private func documents(ofPlaces upstream: String) -> [JSONValue] {
        let own = places.filter { $0.upstream == upstream }
        return Set(own.map(\.address)).sorted().map { address in
            let views = own.filter { $0.address == address }
            return [
                "address": JSONValue(showsPlaces ? address : ""),
                "healthy": .bool(views.allSatisfy { $0.isHealthy && !$0.isEjected }),
                "in_flight": JSONValue(views.reduce(0) { $0 + $1.inFlight }),
                "waiting": JSONValue(views.reduce(0) { $0 + $1.waiting }),
            ]
        }
    }

    /// Bounds in milliseconds, counts of each bucket alone, one more than bounds.
    private static func document(_ histogram: Histogram) -> JSONValue {
        [
            "bounds_ms": .array(histogram.bounds.map { JSONValue(Int(($0 * 1000).rounded())) }),
            "counts": .array(histogram.counts.map { JSONValue($0) }),
        ]
    }
}

extension JSONValue {
    /// With one digit behind the point; null for what is no number.
    init(tenths value: Double) {
        let tenths = (value * 10).rounded()
        guard tenths.isFinite, abs(tenths) < 1e15 else {
            self = .null
            return
        }
        let whole = Int(tenths)
        self = .number("\(whole / 10).\(abs(whole % 10))")
    }
}
