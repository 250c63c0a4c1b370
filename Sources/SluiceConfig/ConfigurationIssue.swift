/// One fault of a configuration, where it stands and what would be right.
public struct ConfigurationIssue: Equatable, Sendable, CustomStringConvertible {
    public let file: String
    /// From 1; 0 for a fault of the whole file.
    public let line: Int
    public let column: Int
    /// `routes[2].upstream`; empty for a fault of the whole file.
    public let path: String
    public let message: String

    public var description: String {
        let place = line == 0 ? file : "\(file):\(line):\(column)"
        return path.isEmpty ? "\(place): \(message)" : "\(place): \(path): \(message)"
    }
}

/// All faults of a configuration, in the order of the file.
public struct ConfigurationFaults: Error, Sendable {
    public let issues: [ConfigurationIssue]
}
