import Synchronization

/// Which models have series of their own: those that the configuration names, and the first hundred that clients ask for.
/// All others are `other`, so that nobody can fill the memory of whoever reads the metrics.
final class ModelNames: Sendable {
    private struct State {
        var configured: Set<String> = []
        var seen: Set<String> = []
    }
    private let state = Mutex(State())
    private static let limit = 100
    private static let lengthLimit = 128
    static let other = "other"

    func configure(_ names: some Sequence<String>) {
        state.withLock { $0.configured = Set(names) }
    }

    /// The name itself, or `other`; "" stays "", which stands for a model that nobody knows.
    func label(for model: String) -> String {
        if model.isEmpty { return "" }
        let isPlain = model.utf8.count <= Self.lengthLimit && model.utf8.allSatisfy { $0 >= 0x20 && $0 != 0x7F }
        guard isPlain else { return Self.other }
        return state.withLock { state in
            if state.configured.contains(model) || state.seen.contains(model) { return model }
            guard state.seen.count < Self.limit else { return Self.other }
            state.seen.insert(model)
            return model
        }
    }
}
