import SluiceBytes

/// What reading a configuration needs and gathers: the environment, and every fault found.
final class ReadingContext {
    let file: String
    /// Relative paths in the file start here.
    let folder: String
    let environment: [String: String]
    /// Reads a file that a secret names; nil if it cannot be read.
    let readFile: (String) -> [UInt8]?
    private(set) var issues: [ConfigurationIssue] = []
    /// `listeners.address`, without indexes: every key that was asked for, whether it stood there or not.
    private(set) var knownKeys: Set<String> = []
    /// The configuration's own, and those that it names.
    private(set) var files: Set<String> = []

    init(file: String, environment: [String: String], readFile: @escaping (String) -> [UInt8]?) {
        (self.file, self.environment, self.readFile) = (file, environment, readFile)
        if !file.isEmpty { files.insert(file) }
        folder = file.lastIndex(of: "/").map { String(file[..<$0]) } ?? "."
    }

    func report(_ node: YAMLNode, _ path: String, _ message: String) {
        issues.append(
            ConfigurationIssue(file: file, line: node.line, column: node.column, path: path, message: message))
    }

    func know(_ path: String) { knownKeys.insert(path) }

    /// Where a file that the configuration names is; it counts as one of its files from then on.
    func absolute(_ path: String) -> String {
        let absolute = path.hasPrefix("/") ? path : folder + "/" + path
        files.insert(absolute)
        return absolute
    }
}

/// One mapping of the file. Each key is asked for once; `finish` reports those that nobody asked for.
struct Section {
    let node: YAMLNode
    let path: String
    let context: ReadingContext
    private let members: [(key: String, keyNode: YAMLNode, value: YAMLNode)]
    private var asked: [String] = []

    /// Reports and returns nil if `node` is no mapping. Duplicate keys are reported, and the first one counts.
    init?(_ node: YAMLNode, path: String, context: ReadingContext) {
        guard case .mapping(let pairs) = node.kind else {
            context.report(node, path, "must be a mapping, not \(node.typeName)")
            return nil
        }
        var members: [(key: String, keyNode: YAMLNode, value: YAMLNode)] = []
        for (key, value) in pairs {
            guard case .scalar(let name, _) = key.kind else { continue }
            if members.contains(where: { $0.key == name }) {
                context.report(key, Self.join(path, name), "this key stands here twice")
            } else {
                members.append((name, key, value))
            }
        }
        (self.node, self.path, self.context, self.members) = (node, path, context, members)
    }

    static func join(_ path: String, _ key: String) -> String { path.isEmpty ? key : "\(path).\(key)" }

    func path(of key: String) -> String { Self.join(path, key) }

    /// All members, for mappings whose keys are names.
    var entries: [(key: String, keyNode: YAMLNode, value: YAMLNode)] { members }

    /// The value's node, unless it is absent or null.
    mutating func value(_ key: String) -> YAMLNode? {
        asked.append(key)
        context.know(path(of: key))
        guard let member = members.first(where: { $0.key == key }), !member.value.isNull else { return nil }
        return member.value
    }

    mutating func section(_ key: String) -> Section? {
        value(key).flatMap { Section($0, path: path(of: key), context: context) }
    }

    /// The elements of a list with their paths.
    mutating func list(_ key: String) -> [(node: YAMLNode, path: String)]? {
        guard let node = value(key) else { return nil }
        guard case .sequence(let elements) = node.kind else {
            context.report(node, path(of: key), "must be a list, not \(node.typeName)")
            return nil
        }
        let base = path(of: key)
        return elements.enumerated().map { ($0.element, "\(base)[\($0.offset)]") }
    }

    /// Reports that a key is missing.
    func missing(_ key: String) { context.report(node, path(of: key), "is required") }

    /// Call after all keys have been asked for.
    func finish() {
        for member in members where !asked.contains(member.key) {
            var message = "unknown key"
            if let nearest = Names.nearest(to: member.key, in: asked) { message += " (did you mean '\(nearest)'?)" }
            context.report(member.keyNode, path(of: member.key), message)
        }
    }

    // MARK: - Scalars

    mutating func string(_ key: String) -> String? {
        value(key).flatMap { Scalars.text($0, path(of: key), context) }
    }

    mutating func requiredString(_ key: String) -> String? {
        if value(key) == nil {
            missing(key)
            return nil
        }
        return string(key)
    }

    mutating func bool(_ key: String) -> Bool? {
        guard let node = value(key), let text = Scalars.text(node, path(of: key), context) else { return nil }
        switch text {
        case "true", "yes", "on": return true
        case "false", "no", "off": return false
        default:
            context.report(node, path(of: key), "'\(text)' is neither true nor false")
            return nil
        }
    }

    mutating func duration(_ key: String) -> Interval? {
        read(key, as: "a duration such as 250ms, 15s, 10m or 0") { Scalars.duration($0) }
    }

    mutating func size(_ key: String) -> Int? {
        read(key, as: "a size such as 512, 64KiB or 8MiB") { Scalars.size($0) }
    }

    mutating func integer(_ key: String, _ range: ClosedRange<Int>) -> Int? {
        read(key, as: "a whole number from \(range.lowerBound) to \(range.upperBound)") { text in
            Int(text).flatMap { range.contains($0) ? $0 : nil }
        }
    }

    /// One of an enumeration's raw values.
    mutating func choice<E: RawRepresentable & CaseIterable>(_ key: String, _ type: E.Type) -> E?
    where E.RawValue == String {
        guard let node = value(key), let text = Scalars.text(node, path(of: key), context) else { return nil }
        if let value = E(rawValue: text) { return value }
        context.report(node, path(of: key), Names.notOneOf(text, E.allCases.map(\.rawValue)))
        return nil
    }

    private mutating func read<T>(_ key: String, as what: String, _ parse: (String) -> T?) -> T? {
        guard let node = value(key), let text = Scalars.text(node, path(of: key), context) else { return nil }
        if let value = parse(text) { return value }
        context.report(node, path(of: key), "'\(text)' is not \(what)")
        return nil
    }
}

/// Names as people mistype them.
public enum Names {
    public static func notOneOf(_ text: String, _ choices: [String]) -> String {
        let near = nearest(to: text, in: choices).map { " (did you mean '\($0)'?)" } ?? ""
        return "'\(text)' is not one of \(choices.joined(separator: ", "))\(near)"
    }

    /// The closest of `names` by edit distance, if it is close at all.
    public static func nearest(to name: String, in names: [String]) -> String? {
        let distances = names.map { ($0, distance(Array(name.utf8.prefix(64)), Array($0.utf8.prefix(64)))) }
        guard let best = distances.min(by: { $0.1 < $1.1 }), best.1 <= max(1, name.utf8.count / 3) else { return nil }
        return best.0
    }

    private static func distance(_ left: [UInt8], _ right: [UInt8]) -> Int {
        var row = Array(0...right.count)
        for (i, byte) in left.enumerated() {
            var diagonal = row[0]
            row[0] = i + 1
            for (j, other) in right.enumerated() {
                let cost = byte == other ? diagonal : 1 + min(diagonal, row[j], row[j + 1])
                diagonal = row[j + 1]
                row[j + 1] = cost
            }
        }
        return row[right.count]
    }
}
