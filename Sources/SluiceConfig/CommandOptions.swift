import SluiceBytes

/// The arguments of one command, taken apart by what the command says it knows: `--name VALUE`, `--name=VALUE`, flags, and what
/// is left. The last of two wins; behind `--` nothing is an option.
public struct CommandOptions {
    /// Wrong usage, in words for the user.
    public struct Fault: Error, Equatable {
        public let message: String

        public init(_ message: String) { self.message = message }
    }

    /// What is neither an option nor its value.
    public let operands: [String]
    private let values: [String: [String]]
    private let flags: Set<String>

    /// `values` and `flags` are names without their dashes; `short` says which name a letter stands for.
    public init(
        _ arguments: [String], values known: [String] = [], flags knownFlags: [String] = [],
        short: [String: String] = [:]
    ) throws(Fault) {
        var (operands, values, flags): ([String], [String: [String]], Set<String>) = ([], [:], [])
        var rest = arguments[...]
        while let argument = rest.popFirst() {
            if argument == "--" {
                operands += rest
                break
            }
            guard argument.hasPrefix("-"), argument != "-" else {
                operands.append(argument)
                continue
            }
            let parts = argument.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false).map(String.init)
            let isLong = argument.hasPrefix("--")
            let written = parts.first ?? argument
            let name = isLong ? String(written.dropFirst(2)) : short[String(written.dropFirst())] ?? ""
            if knownFlags.contains(name), parts.count == 1 {
                flags.insert(name)
            } else if known.contains(name) {
                guard let value = parts.count == 2 ? parts[1] : rest.popFirst() else {
                    throw Fault("\(written) needs a value")
                }
                values[name, default: []].append(value)
            } else {
                let options = (known + knownFlags).map { "--\($0)" }
                let near = Names.nearest(to: written, in: options).map { " (did you mean '\($0)'?)" } ?? ""
                throw Fault("there is no option '\(argument)'\(near)")
            }
        }
        (self.operands, self.values, self.flags) = (operands, values, flags)
    }

    public func has(_ flag: String) -> Bool { flags.contains(flag) }
    public func text(_ name: String) -> String? { values[name]?.last }
    /// All that were given, where an option may stand several times.
    public func all(_ name: String) -> [String] { values[name] ?? [] }

    public func required(_ name: String) throws(Fault) -> String {
        guard let value = text(name) else { throw Fault("--\(name) is required") }
        return value
    }

    /// One of an enumeration's names, but for those in `excluding`.
    public func choice<E: RawRepresentable & CaseIterable & Equatable>(
        _ name: String, _ type: E.Type, excluding: [E] = []
    ) throws(Fault) -> E? where E.RawValue == String {
        guard let text = text(name) else { return nil }
        if let value = E(rawValue: text), !excluding.contains(value) { return value }
        let choices = E.allCases.filter { !excluding.contains($0) }.map(\.rawValue)
        throw Fault("--\(name): \(Names.notOneOf(text, choices))")
    }

    /// A whole number of at least 1.
    public func count(_ name: String) throws(Fault) -> Int? {
        guard let text = text(name) else { return nil }
        guard let count = Int(text), count > 0 else {
            throw Fault("--\(name): '\(text)' is not a whole number above 0")
        }
        return count
    }

    /// A factor above 0, such as 2 or 0.5.
    public func factor(_ name: String) throws(Fault) -> Double? {
        guard let text = text(name) else { return nil }
        guard let factor = Double(text), factor > 0, factor.isFinite else {
            throw Fault("--\(name): '\(text)' is not a number above 0")
        }
        return factor
    }

    public func interval(_ name: String) throws(Fault) -> Interval? {
        guard let text = text(name) else { return nil }
        guard let interval = Scalars.duration(text) else {
            throw Fault("--\(name): '\(text)' is not a duration such as 250ms, 15s, 10m or 0")
        }
        return interval
    }
}
