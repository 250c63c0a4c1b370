import SluiceStreams

/// One thing that was looked at.
public struct Finding: Equatable, Sendable {
    public enum Verdict: String, Sendable {
        case well
        /// Harmless today, or for some.
        case warning
        /// Streams suffer.
        case harmful
        /// Nobody can tell from here.
        case unknown

        public var mark: String {
            switch self {
            case .well: "✓"
            case .warning: "!"
            case .harmful: "✗"
            case .unknown: "?"
            }
        }
    }

    /// One word, for programs.
    public let check: String
    public let verdict: Verdict
    public let message: String
    /// What to change, a line each.
    public var advice: [String]
    /// Figures, for programs.
    public var measured: [(key: String, value: JSONValue)]

    public init(
        _ check: String, _ verdict: Verdict, _ message: String, advice: [String] = [],
        measured: [(key: String, value: JSONValue)] = []
    ) {
        (self.check, self.verdict, self.message) = (check, verdict, message)
        (self.advice, self.measured) = (advice, measured)
    }

    public static func == (left: Finding, right: Finding) -> Bool { left.json == right.json }

    var json: JSONValue {
        [
            "check": JSONValue(check), "verdict": JSONValue(verdict.rawValue), "message": JSONValue(message),
            "advice": .array(advice.map { JSONValue($0) }), "measured": .object(measured),
        ]
    }
}

/// What the doctor says in the end.
public struct Diagnosis: Sendable {
    public enum Outcome: Int32, Sendable {
        case well = 0
        case harmful = 1
        case unreachable = 3

        var name: String {
            switch self {
            case .well: "well"
            case .harmful: "harmful"
            case .unreachable: "unreachable"
            }
        }
    }

    /// One line each: what stands between.
    public var path: [String] = []
    public var findings: [Finding] = []
    public var hops: [Hop] = []
    /// Sluice answered probes; else only arrival times are known.
    public var isExact = false
    public var isUnreachable = false

    public init() {}

    public var outcome: Outcome {
        if isUnreachable { return .unreachable }
        return findings.contains { $0.verdict == .harmful } ? .harmful : .well
    }

    public mutating func add(_ finding: Finding?) { if let finding { findings.append(finding) } }
}
