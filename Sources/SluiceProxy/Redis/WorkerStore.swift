import SluiceConfig
import SluiceIO
import Synchronization

extension Worker {
    /// Of the configuration in force; nil where no route keeps answers in Redis.
    func makeReplayStore() -> RedisStore? {
        guard let spec = snapshot.redisSpec else { return nil }
        let store = RedisStore(
            spec, tls: snapshot.redisTLS, loop: loop, resolver: snapshot.makeResolver(on: loop), seed: nextRandom()
        ) { [unowned self] event in
            if metrics.store.count(event) { tell(event) }
        }
        store.onStop = { [unowned self] id in generations.stop(id) }
        return store
    }

    /// One line for all workers, at each change.
    private func tell(_ event: RedisStoreEvent) {
        switch event {
        case .up:
            let isLast = shared.storesDown.subtract(1, ordering: .acquiringAndReleasing).newValue == 0
            if isLast { shared.log.write(.info, "resume_store_up") }
        case .down(let failure):
            let isFirst = shared.storesDown.add(1, ordering: .acquiringAndReleasing).newValue == 1
            if isFirst {
                shared.log.write(
                    .warning, "resume_store_down", ["reason": failure.kind.rawValue, "error": failure.text])
            }
        case .failed, .dropped: break
        }
    }

    /// A store that serves no new generation any more, and tells nothing.
    func retire(_ store: RedisStore) {
        store.retire()
        if metrics.store.retire() { shared.storesDown.subtract(1, ordering: .acquiringAndReleasing) }
    }
}

extension ServerSnapshot {
    /// Where no route asks for it nobody connects.
    var redisSpec: RedisSpec? {
        configuration.routes.contains { $0.resume?.store == .redis } ? configuration.redis : nil
    }
}

/// What a worker counts of its store of answers.
struct ReplayStoreCounts: Sendable {
    /// nil: there is none, or it was not tried yet.
    var isUp: Bool?
    var failures: [RedisFailure.Kind: Int] = [:]
    /// Pieces of answers, and bytes in them, that were not stored.
    var droppedPieces = 0
    var droppedBytes = 0

    /// True for what changes the state that others were told of: it is not told that what was not down is up.
    mutating func count(_ event: RedisStoreEvent) -> Bool {
        switch event {
        case .up:
            defer { isUp = true }
            return isUp == false
        case .down:
            defer { isUp = false }
            return isUp != false
        case .failed(let kind): failures[kind, default: 0] += 1
        case .dropped(let bytes):
            droppedPieces += 1
            droppedBytes += bytes
        }
        return false
    }

    /// True if it was down.
    mutating func retire() -> Bool {
        defer { isUp = nil }
        return isUp == false
    }

    mutating func add(_ other: ReplayStoreCounts) {
        if let up = other.isUp { isUp = (isUp ?? true) && up }
        for (kind, count) in other.failures { failures[kind, default: 0] += count }
        droppedPieces += other.droppedPieces
        droppedBytes += other.droppedBytes
    }
}

extension MetricsExposition {
    static func appendStore(_ reports: [WorkerReport], _ out: inout MetricsText) {
        var sum = ReplayStoreCounts()
        for report in reports { sum.add(report.counters.store) }
        out.family(
            "sluice_resume_store_up", .gauge,
            "0: some worker does not reach Redis, and keeps answers to itself. Absent: no route keeps any there.")
        if let isUp = sum.isUp { out.sample([], isUp ? 1 : 0) }
        out.family("sluice_resume_store_errors_total", .counter, "Failures of Redis and of connecting to it, by kind.")
        for kind in RedisFailure.Kind.allCases.sorted(by: { $0.rawValue < $1.rawValue }) {
            out.sample([(name: "kind", value: kind.rawValue)], sum.failures[kind] ?? 0)
        }
        out.family("sluice_resume_store_dropped_total", .counter, "Pieces of answers that were not stored.")
        out.sample([], sum.droppedPieces)
        out.family("sluice_resume_store_dropped_bytes_total", .counter, "Bytes of answers that were not stored.")
        out.sample([], sum.droppedBytes)
    }
}
