import SluiceBytes
import SluiceConfig
import SluiceHTTP
import SluiceStreams

/// The configuration in force as JSON, for operators: every value with its default, under the names that its types have in the
/// code. It is walked by reflection, so that nothing is left out; secrets show as `***`, by their type.
struct ConfigurationDump {
    /// Routes hold places in this list.
    private let upstreams: [String]

    static func document(_ configuration: Configuration) -> JSONValue {
        ConfigurationDump(upstreams: configuration.upstreams.map(\.name)).value(configuration, named: "")
    }

    /// Deeper than any configuration.
    private static let depthLimit = 16
    /// Fields that may hold a secret without being of that type.
    private static let secretFields: Set<String> = ["accessKeyID", "hash"]

    private func value(_ any: Any, named name: String, depth: Int = 0) -> JSONValue {
        guard depth < Self.depthLimit else { return "…" }
        if Self.secretFields.contains(name) {
            let mirror = Mirror(reflecting: any)
            return mirror.displayStyle == .optional && mirror.children.isEmpty ? .null : "***"
        }
        switch any {
        case is Secret: return "***"
        case let flag as Bool: return .bool(flag)
        case let place as Int where name == "upstream" && upstreams.indices.contains(place):
            return JSONValue(upstreams[place])
        case let number as Int: return JSONValue(number)
        case let text as String: return JSONValue(shown(text, named: name))
        case let interval as Interval: return JSONValue(text(interval))
        case let named as any RawRepresentable:
            if let raw = named.rawValue as? String { return JSONValue(raw) }
        default: break
        }
        let mirror = Mirror(reflecting: any)
        switch mirror.displayStyle {
        case .optional:
            return mirror.children.first.map { value($0.value, named: name, depth: depth + 1) } ?? .null
        case .collection, .set:
            return .array(mirror.children.map { value($0.value, named: name, depth: depth + 1) })
        case .dictionary: return dictionary(mirror, depth)
        case .enum:
            guard let payload = mirror.children.first, let label = payload.label else { return JSONValue("\(any)") }
            return .object([(key: Self.snake(label), value: value(payload.value, named: label, depth: depth + 1))])
        case .struct, .class, .tuple:
            let members = mirror.children.map { child in
                let label = child.label ?? ""
                return (key: Self.snake(label), value: value(child.value, named: label, depth: depth + 1))
            }
            return .object(members)
        default: return JSONValue("\(any)")
        }
    }

    private func dictionary(_ mirror: Mirror, _ depth: Int) -> JSONValue {
        let members = mirror.children.map { child -> (key: String, value: JSONValue) in
            let pair = Array(Mirror(reflecting: child.value).children)
            guard pair.count == 2 else { return (key: "?", value: .null) }
            return (key: "\(pair[0].value)", value: value(pair[1].value, named: "", depth: depth + 1))
        }
        return .object(members.sorted { $0.key < $1.key })
    }

    /// A path may hold a key in its query.
    private func shown(_ text: String, named name: String) -> String {
        guard name == "upstreamPath", let mark = text.firstIndex(of: "?") else { return text }
        let pairs = text[text.index(after: mark)...].split(separator: "&").map { pair -> String in
            guard let equals = pair.firstIndex(of: "=") else { return String(pair) }
            let isSecret = Redactor.isSecretName(String(pair[..<equals]))
            return isSecret ? pair[...equals] + "***" : String(pair)
        }
        return text[...mark] + pairs.joined(separator: "&")
    }

    /// As a file would have it.
    private func text(_ interval: Interval) -> String {
        if interval == .zero { return "0" }
        let milliseconds = interval.milliseconds
        return milliseconds % 1000 == 0 ? "\(milliseconds / 1000)s" : "\(milliseconds)ms"
    }

    /// `requestHeadBytes` → `request_head_bytes`, `clientCA` → `client_ca`.
    static func snake(_ name: String) -> String {
        let characters = Array(name)
        var result = ""
        for (index, character) in characters.enumerated() {
            let isStart = character.isUppercase && index > 0
            let endsRun = index + 1 < characters.count && characters[index + 1].isLowercase
            if isStart, !characters[index - 1].isUppercase || endsRun { result += "_" }
            result += character.lowercased()
        }
        return result
    }
}
