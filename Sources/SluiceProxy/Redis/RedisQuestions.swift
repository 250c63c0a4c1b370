import SluiceBytes
import SluiceIO
import SluiceStreams

extension RedisStore {
    typealias Found = (Result<(facts: GenerationFacts, isEnded: Bool)?, ReplayFailure>) -> Void

    func find(_ name: GenerationName, in scope: String, _ found: @escaping Found) {
        switch name {
        case .id(let id): find(id: id, in: scope, found)
        case .alias(let alias):
            let isAsked = commands.send(["GET", .text(keys.alias(alias, scope: scope))]) { [weak self] result in
                guard let self, case .success(let value) = result else { return found(.failure(.storeAway)) }
                guard let id = value.text else { return found(.success(nil)) }
                find(id: id, in: scope, found)
            }
            if !isAsked { later(found, .failure(.storeAway)) }
        }
    }

    private func find(id: String, in scope: String, _ found: @escaping Found) {
        guard RedisKeys.isID(id) else { return later(found, .success(nil)) }
        let question: [RESPArgument] = [
            "HMGET", .text(keys.record(id)), "scope", "state", "format", "alias", "workflow",
        ]
        let isAsked = commands.send(question) { result in
            guard case .success(let value) = result else { return found(.failure(.storeAway)) }
            guard let fields = value.elements(5), fields[0].text == RedisKeys.digest(scope),
                let format = fields[2].text.flatMap({ StreamFormat(rawValue: $0) })
            else { return found(.success(nil)) }
            var facts = GenerationFacts(id: id, alias: fields[3].text, scope: scope, format: format)
            facts.workflow = fields[4].text
            found(.success((facts: facts, isEnded: fields[1].text != "run")))
        }
        if !isAsked { later(found, .failure(.storeAway)) }
    }

    private func later(
        _ found: @escaping Found, _ result: Result<(facts: GenerationFacts, isEnded: Bool)?, ReplayFailure>
    ) {
        loop.afterTurn { found(result) }
    }

    func stop(_ id: String) {
        if isOwn(id) {
            loop.afterTurn { [weak self] in self?.onStop(id) }
            return
        }
        if RedisKeys.isID(id) { RedisStop(id, self).ask() }
    }

    /// Redis answers in order: what it was told before it is asked this, it has done by then.
    func whenKnown(_ id: String, _ then: @escaping () -> Void) {
        let isAsked = commands.send(["HMGET", .text(keys.record(id)), "state"]) { _ in then() }
        if !isAsked { loop.afterTurn(then) }
    }

    func isRead(_ id: String, _ answer: @escaping (Bool) -> Void) {
        let isAsked = commands.send(["PUBSUB", "NUMSUB", .text(keys.news(id))]) { result in
            guard case .success(let value) = result, let counts = value.elements(2),
                case .integer(let count) = counts[1]
            else { return answer(false) }
            answer(count > 0)
        }
        if !isAsked { loop.afterTurn { answer(false) } }
    }
}

/// Tells an owner what it is to stop; again and again for a while if it does not listen, since it may be coming back to Redis just now.
private final class RedisStop: TimerHandler {
    private let id: String
    private let store: RedisStore
    private var attempts = 6

    init(_ id: String, _ store: RedisStore) { (self.id, self.store) = (id, store) }

    func ask() {
        attempts -= 1
        let store = store
        store.commands.send(["HMGET", .text(store.keys.record(id)), "owner", "state"]) { [self] result in
            guard case .success(let value) = result, let fields = value.elements(2), let owner = fields[0].text,
                let state = fields[1].text
            else { return }
            if state == "run" { tell(owner) } else { store.remove(id) }
        }
    }

    private func tell(_ owner: String) {
        store.commands.send(["PUBLISH", .text(store.keys.control(owner)), .text(id)]) { [self] result in
            guard case .success(.integer(0)) = result, attempts > 0 else { return }
            _ = store.loop.schedule(after: .milliseconds(500), handler: self)
        }
    }

    func timerFired(_ timer: TimerID, on loop: EventLoop) { ask() }
}
