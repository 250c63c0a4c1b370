import Glibc
import SluiceIO
import Synchronization

/// The credentials of one upstream, kept fresh by a thread of their own where they can change, so that no loop ever
/// waits for them.
///
/// They are fetched again five minutes before they end. If that fails, those that there are stay until they end.
final class AWSCredentialStore: Sendable {
    typealias Result = Swift.Result<AWSCredentials, AWSCredentialError>

    /// How long before their end credentials are fetched again, in seconds.
    static let refreshBefore = 300
    /// For those that have no end: files that somebody may write anew.
    static let refreshEvery = 300
    /// After a failure.
    static let retryEvery = 10

    private let keeper: Keeper

    /// - Throws: if the thread or its descriptors cannot be made.
    init(
        _ source: AWSCredentialSource, environment: [String: String],
        clock: @escaping @Sendable () -> Int = { time(nil) }
    ) throws(SystemError) {
        keeper = try Keeper(source, environment, clock)
        if source.isConstant(environment) {
            keeper.load()
        } else {
            let keeper = keeper
            try startThread(named: "credentials") { keeper.run() }
        }
    }

    /// The thread ends when nobody asks any more.
    deinit { keeper.stop() }

    /// What there is now; never blocks.
    func current() -> Result { keeper.current() }

    /// Waits until the first attempt is over, so that a server need not begin with refusals. False: it is not.
    func waitForFirst(upTo milliseconds: Int) -> Bool { keeper.waitForFirst(milliseconds) }

    /// Has them fetched at once, e.g. since the provider says that they are no longer good.
    func refresh() { keeper.refresh() }
}

/// What the store and its thread share.
private final class Keeper: Sendable {
    private struct State {
        var credentials: AWSCredentials?
        var failure: AWSCredentialError?
        var isStopped = false

        var hasLoaded: Bool { credentials != nil || failure != nil }
    }
    private let state = Mutex(State())
    private let source: AWSCredentialSource
    private let environment: [String: String]
    private let clock: @Sendable () -> Int
    private let wakeup: Wakeup
    private let loaded: Wakeup

    init(
        _ source: AWSCredentialSource, _ environment: [String: String], _ clock: @escaping @Sendable () -> Int
    ) throws(SystemError) {
        (self.source, self.environment, self.clock) = (source, environment, clock)
        (wakeup, loaded) = (try Wakeup(), try Wakeup())
    }

    func run() {
        while !state.withLock({ $0.isStopped }) {
            load()
            loaded.signal()
            _ = wakeup.wait(upTo: secondsToRefresh() * 1000)
        }
    }

    func load() {
        let result: AWSCredentialStore.Result
        do throws(AWSCredentialError) {
            result = .success(try source.load(environment))
        } catch {
            result = .failure(error)
        }
        state.withLock { state in
            switch result {
            case .success(let credentials): (state.credentials, state.failure) = (credentials, nil)
            case .failure(let failure): state.failure = failure
            }
        }
    }

    private func secondsToRefresh() -> Int {
        let now = clock()
        return state.withLock { state in
            guard state.failure == nil, let credentials = state.credentials else {
                return AWSCredentialStore.retryEvery
            }
            guard let end = credentials.expiration else { return AWSCredentialStore.refreshEvery }
            // A day at most, since the clock may be set meanwhile.
            return min(max(end - now - AWSCredentialStore.refreshBefore, AWSCredentialStore.retryEvery), 86_400)
        }
    }

    func current() -> AWSCredentialStore.Result {
        let now = clock()
        return state.withLock { state in
            guard let credentials = state.credentials else {
                return .failure(state.failure ?? AWSCredentialError("the AWS credentials have not been fetched yet"))
            }
            guard let end = credentials.expiration, end <= now else { return .success(credentials) }
            let why = state.failure.map { "; \($0.description)" } ?? ""
            return .failure(AWSCredentialError("the AWS credentials have expired\(why)"))
        }
    }

    func waitForFirst(_ milliseconds: Int) -> Bool {
        if state.withLock({ $0.hasLoaded }) { return true }
        _ = loaded.wait(upTo: milliseconds)
        return state.withLock { $0.hasLoaded }
    }

    func refresh() { wakeup.signal() }

    func stop() {
        state.withLock { $0.isStopped = true }
        wakeup.signal()
    }
}
