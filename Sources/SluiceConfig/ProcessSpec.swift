import SluiceBytes

/// An upstream's server as a process of ours: how it is started, when it is ready, what happens when it ends.
public struct ProcessSpec: Sendable, Equatable {
    public enum Restart: String, Sendable, CaseIterable {
        /// Unless it ended by itself with code 0.
        case onFailure = "on-failure"
        case always, never
    }
    public enum StopSignal: String, Sendable, CaseIterable { case SIGTERM, SIGINT, SIGQUIT, SIGHUP, SIGKILL }
    public enum Output: String, Sendable, CaseIterable { case log, discard }

    public struct Variable: Sendable, Equatable {
        public var name: String
        public var value: Secret
        /// Taken out of the lines that the process writes: it comes from a file, or its name says that it is a secret.
        public var isSecret: Bool

        public init(name: String, value: Secret, isSecret: Bool) {
            (self.name, self.value, self.isSecret) = (name, value, isSecret)
        }
    }

    public struct Ready: Sendable, Equatable {
        /// Asked with GET until it answers 2xx; nil: that the port accepts is enough.
        public var path: String?
        /// Zero is no limit.
        public var timeout = Interval.seconds(120)
        public var interval = Interval.milliseconds(500)

        public init() {}
    }

    /// The program, looked up in PATH unless it has a slash in it, and its arguments. Never empty.
    public var command: [String]
    /// nil: the proxy's own.
    public var directory: String?
    /// On top of the proxy's own.
    public var environment: [Variable] = []
    public var ready = Ready()
    public var restart = Restart.onFailure
    /// Before the first restart; doubled for each further one, up to `maxBackoff`.
    public var backoff = Interval.seconds(1)
    /// Also how long a run must have been ready for the next to begin at `backoff` again.
    public var maxBackoff = Interval.seconds(30)
    public var stopSignal = StopSignal.SIGTERM
    /// From the signal to SIGKILL for all that is left.
    public var stopTimeout = Interval.seconds(10)
    /// How long a request waits for it to be ready; zero: not at all.
    public var wait = Interval.seconds(60)
    public var output = Output.log

    public init(command: [String]) { self.command = command }
}

extension UpstreamURL {
    /// The same for all URLs that one process would listen at.
    public var processAddress: String { unixPath ?? (host == "localhost" ? "127.0.0.1" : host) + ":\(port)" }

    /// A place that only this machine reaches.
    public var isLocal: Bool {
        if unixPath != nil || host == "localhost" || host == "::1" { return true }
        let parts = host.split(separator: ".", omittingEmptySubsequences: false)
        return parts.count == 4 && parts[0] == "127" && parts.allSatisfy { UInt8($0) != nil }
    }
}
