import SluiceBytes
import SluiceConfig
import SluiceIO

/// How one attempt of an exchange at an upstream went, as far as the upstream's health is concerned.
enum AttemptOutcome: Equatable {
    /// The head of an answer came, with this status, and what followed was whole.
    case answered(status: Int)
    /// No connection, no answer in time, one that was cut or malformed, or a refusal (REFUSED_STREAM, GOAWAY) that stood.
    case failed
    /// The client left or the exchange was given up: it says nothing about the upstream.
    case abandoned
}

/// One worker's view of an upstream of the configuration: the places where it is found, of which each attempt gets one.
///
/// `Balancer` chooses, `OutlierDetector` and the active checks say who may be chosen; this class carries the news between them and
/// the pools. The configuration's current groups check their places; an exchange that outlives a reload keeps its pool.
final class UpstreamGroup {
    let spec: UpstreamSpec
    let pools: [UpstreamPool]
    /// Of this worker's repetitions.
    var budget: RetryBudget
    private let loop: EventLoop
    private var places: [PlaceState]
    private var balancer: Balancer
    private let detector: OutlierDetector
    private var checks: [HealthCheck] = []
    private var isPanicking = false
    /// Told of what the operator should know.
    var onChange: ((PlaceChange) -> Void)?

    /// `pools`: one for each of the places of `spec`, in their order. `hasFallback`: some route names another upstream behind
    /// this one.
    init(_ spec: UpstreamSpec, pools: [UpstreamPool], loop: EventLoop, seed: UInt64, hasFallback: Bool = false) {
        (self.spec, self.pools, self.loop) = (spec, pools, loop)
        budget = RetryBudget(spec.retries)
        places = spec.places.prefix(pools.count).map { PlaceState(weight: $0.weight) }
        balancer = Balancer(spec.balance, places: places, slowStart: spec.slowStart, seed: seed)
        detector = OutlierDetector(spec.outlier, hasFallback: hasFallback)
        var random = SplitMix64(seed: ~seed)
        for (index, pool) in pools.enumerated() {
            let name = pools.count > 1 ? spec.nameOfPlace(index) : ""
            pool.join(self, as: index, named: name, seed: random.next())
        }
        guard let check = spec.healthCheck else { return }
        checks = pools.enumerated().map { index, pool in
            HealthCheck(check, of: pool, seed: random.next()) { [weak self] fault in self?.checked(index, fault) }
        }
    }

    /// Begins the active checks. What `old`, the same upstream before a reload, knows of places that are still there is not
    /// forgotten.
    func start(after old: UpstreamGroup?) {
        if let old {
            for (index, place) in spec.places.enumerated() where places.indices.contains(index) {
                guard let before = old.spec.places.firstIndex(where: { $0.url == place.url }) else { continue }
                // Without checks nothing would ever make it well again.
                if checks.isEmpty, !old.places[before].health.isHealthy { continue }
                places[index].health = old.places[before].health
            }
        }
        for check in checks { check.start() }
    }

    func close() {
        for check in checks { check.stop() }
        for pool in pools { pool.close() }
    }

    func count(into census: inout WorkerCensus) {
        for pool in pools { pool.count(into: &census) }
    }

    // MARK: - Attempts

    /// The place for one attempt; nil if there is none that may be tried now. `tried`: those that have failed this request,
    /// taken again only where no other is left.
    func pick(avoiding tried: [UpstreamPool]) -> UpstreamPool? {
        let now = loop.now
        endEjections(at: now)
        if pools.count < 2 { return pools.first }
        var avoided = PlaceSet()
        for pool in tried where pool.isPlace(of: self) { avoided.insert(pool.place) }
        guard let choice = balancer.pick(places, avoiding: avoided, now: now) else { return nil }
        if choice.isPanic != isPanicking {
            isPanicking = choice.isPanic
            onChange?(PlaceChange(choice.isPanic ? .noneIsWell : .someAreWell, upstream: spec.name))
        }
        return pools[choice.index]
    }

    /// Some place is well, as far as this worker knows, and not just being tried. Where none is, `pick` takes one all the same:
    /// with another upstream at hand, that one is the better choice.
    var hasAvailablePlace: Bool {
        let now = loop.now
        endEjections(at: now)
        return places.contains { $0.takesPart(at: now, slowStart: spec.slowStart) }
    }

    /// There is another place that is well and has not failed this request.
    func hasOtherPlace(than tried: [UpstreamPool]) -> Bool {
        pools.indices.contains { index in
            places[index].health.isAvailable(at: loop.now) && !tried.contains { $0 === pools[index] }
        }
    }

    func attemptBegan(at index: Int) { places[index].inFlight += 1 }

    func attemptEnded(_ outcome: AttemptOutcome, at index: Int) {
        places[index].inFlight = max(0, places[index].inFlight - 1)
        guard let length = detector.attemptEnded(outcome, at: index, of: &places, now: loop.now) else { return }
        tell(.ejected(length), index)
    }

    private func endEjections(at now: Instant) {
        for index in places.indices where places[index].health.ejectedUntil != nil {
            if places[index].health.endEjection(at: now) { tell(.returned, index) }
        }
    }

    // MARK: - Checks

    private func checked(_ index: Int, _ fault: String?) {
        guard let check = spec.healthCheck else { return }
        if let fault {
            onChange?(PlaceChange(.checkFailed(fault), upstream: spec.name, place: spec.nameOfPlace(index)))
        }
        guard places[index].health.checked(fault == nil, by: check, at: loop.now) else { return }
        tell(fault.map { .unhealthy($0) } ?? .healthy, index)
    }

    // MARK: - For the operator

    /// What this worker knows of each place now.
    var status: [PlaceStatus] {
        places.enumerated().map { index, place in
            PlaceStatus(
                upstream: spec.name, name: spec.nameOfPlace(index), weight: place.weight,
                isHealthy: place.health.isHealthy,
                isEjected: place.health.isEjected(at: loop.now), inFlight: place.inFlight)
        }
    }

    private func tell(_ kind: PlaceChange.Kind, _ index: Int) {
        onChange?(PlaceChange(kind, upstream: spec.name, place: spec.nameOfPlace(index)))
    }
}

extension UpstreamSpec {
    /// `host:port`, and the base path where that alone does not tell two places apart.
    func nameOfPlace(_ index: Int) -> String {
        guard places.indices.contains(index) else { return "" }
        let url = places[index].url
        let hasTwin = places.indices.contains { $0 != index && places[$0].url.place == url.place }
        return hasTwin ? url.place + url.basePath : url.place
    }
}

extension UpstreamURL {
    /// Where it is, with the port also where it is the scheme's own.
    fileprivate var place: String {
        if let unixPath { return "unix:" + unixPath }
        return host.contains(":") ? "[\(host)]:\(port)" : "\(host):\(port)"
    }
}
