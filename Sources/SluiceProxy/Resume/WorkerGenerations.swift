import SluiceBytes
import SluiceConfig
import SluiceHTTP
import SluiceIO

/// The generations of one worker, and its readers of other workers' ones.
final class WorkerGenerations {
    private unowned let worker: Worker
    private var own: [String: Generation] = [:]
    /// Readers on other threads, by token.
    private var remoteReaders: [UInt64: RemoteReader] = [:]
    /// Of generations on other threads, by token.
    private var subscriptions: [UInt64: RemoteSubscription] = [:]

    init(_ worker: Worker) { self.worker = worker }

    private var directory: GenerationDirectory { worker.shared.generations }
    /// A worker whose answers others still read does not stop.
    var areReadElsewhere: Bool { !remoteReaders.isEmpty }

    private var limitBytes: Int { min(worker.limits.resumeBuffers, worker.bufferedBytesLimit / 2) }

    // MARK: - Making

    /// nil: there is no room for another one, and the exchange goes on without.
    func begin(
        _ facts: GenerationFacts, _ spec: ResumeSpec, drains: Bool, isTask: Bool = false, for exchange: Exchange
    ) -> Generation? {
        let room = min(spec.bufferBytes, Self.usefulBytes, limitBytes / 8)
        guard limitBytes > 0, directory.makeRoom(limitBytes - room) else {
            worker.metrics.resumption.refused += 1
            return nil
        }
        let generation = Generation(facts, spec, drains: drains, isTask: isTask, for: exchange)
        if worker.isDraining { generation.life.drain() }
        own[facts.id] = generation
        directory.begin(facts, owner: worker.loop.mailbox)
        worker.metrics.resumption.begun += 1
        return generation
    }

    /// With less room than this a new generation would keep too little to be worth it.
    private static let usefulBytes = 64 << 10

    /// True: all generations together are over their bound.
    func noteStorage(_ change: Int) -> Bool { directory.changed(by: change, limit: limitBytes) }

    func remove(_ generation: Generation) { own[generation.facts.id] = nil }

    /// Others needed its room.
    func evict(_ id: String) {
        guard let generation = own[id] else { return }
        worker.metrics.resumption.evicted += 1
        generation.forget()
    }

    func stop(_ id: String) { own[id]?.stop() }

    private func cancel(_ id: String) { own[id]?.stop(forgetsEnded: false) }

    // MARK: - Following

    /// Calls `found` once: at once if this process knows the answer, else when the store does.
    func find(
        _ names: [GenerationName], scope: String, in store: ResumeSpec.Store,
        _ found: @escaping (Result<GenerationDirectory.Found?, ReplayFailure>) -> Void
    ) {
        guard let name = names.first else { return found(.success(nil)) }
        let known = directory.find(name, scope: scope)
        let rest = Array(names.dropFirst())
        // The newest one that bears a name may be another process's.
        var isSettled = false
        if case .id = name, known != nil { isSettled = true }
        guard store == .redis, !isSettled, let replayStore = worker.replayStore else {
            return known.map { found(.success($0)) } ?? find(rest, scope: scope, in: store, found)
        }
        replayStore.find(name, in: scope) { [weak self] result in
            guard let self else { return }
            switch result {
            case .success(let other?):
                let own = directory.find(.id(other.facts.id), scope: scope)
                found(.success(own ?? GenerationDirectory.Found(facts: other.facts, isEnded: other.isEnded)))
            case .success(nil):
                known.map { found(.success($0)) } ?? find(rest, scope: scope, in: store, found)
            case .failure(let failure): found(known.map { .success($0) } ?? .failure(failure))
            }
        }
    }

    /// Reads what `find` has found, wherever it is kept.
    func follow(_ id: String, from position: Int, _ reader: any ReplayReader) -> any ReplaySubscription {
        if let generation = own[id] { return generation.follow(from: position, reader) }
        let token = directory.makeToken()
        let mailbox = worker.loop.mailbox
        let owner = directory.post(to: id) { worker in
            worker.generations.attach(token, to: id, from: position, replies: mailbox)
        }
        if owner == nil, let store = worker.replayStore { return store.follow(id, from: position, reader) }
        let subscription = RemoteSubscription(token, at: owner, reader, worker: worker)
        subscriptions[token] = subscription
        // It has been forgotten since it was found.
        if owner == nil { worker.loop.afterTurn { subscription.failed(.unknown) } }
        return subscription
    }

    /// Wherever it is made.
    func requestStop(_ id: String) {
        if let generation = own[id] { return generation.stop() }
        if directory.post(to: id, { $0.generations.stop(id) }) != nil { return }
        worker.replayStore?.stop(id)
    }

    /// The same, but what has ended by then stays as it is.
    func requestCancel(_ id: String) {
        if own[id] != nil { return cancel(id) }
        if directory.post(to: id, { $0.generations.cancel(id) }) != nil { return }
        worker.replayStore?.stop(id)
    }

    // MARK: - Readers elsewhere

    private func attach(_ token: UInt64, to id: String, from position: Int, replies: Mailbox) {
        guard let generation = own[id] else {
            return RemoteReader.post(.failed(.unknown), token, replies)
        }
        let reader = RemoteReader(token, replies: replies, owner: self)
        remoteReaders[token] = reader
        reader.subscription = generation.follow(from: position, reader)
    }

    func takesMore(_ token: UInt64) { remoteReaders[token]?.subscription?.resume() }

    func detach(_ token: UInt64) {
        remoteReaders.removeValue(forKey: token)?.subscription?.cancel()
        worker.generationReadersLeft()
    }

    /// It has heard its last.
    func left(_ token: UInt64) {
        remoteReaders[token] = nil
        worker.generationReadersLeft()
    }

    // MARK: - Readers here

    func heard(_ message: RemoteReader.Message, _ token: UInt64) { subscriptions[token]?.heard(message) }

    func forget(_ subscription: RemoteSubscription) { subscriptions[subscription.token] = nil }

    // MARK: - Ending

    private var inOrder: [Generation] { own.sorted { $0.key < $1.key }.map(\.value) }

    func drain() { for generation in inOrder { generation.drain() } }

    func failLive() { for generation in inOrder where generation.isRunning { generation.failForDrain() } }

    /// Nobody finds anything here any more. What was left for this worker before is still in its mailbox.
    func close() {
        for generation in inOrder {
            generation.forget()
            generation.letGo()
        }
    }
}
