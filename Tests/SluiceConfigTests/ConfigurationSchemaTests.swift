import Foundation
import SluiceConfig
import SluiceStreams
import Testing

@Suite struct ConfigurationSchemaTests {
    private let root = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
        .deletingLastPathComponent()

    private func schema() throws -> [String: Any] {
        let data = Data(ConfigurationSchema.text().utf8)
        return try #require(try JSONSerialization.jsonObject(with: data) as? [String: Any])
    }

    /// `upstreams.*.url`: every key that the schema describes; `*` is a name that the user gives.
    private func keys(_ node: [String: Any], _ path: String = "") -> Set<String> {
        var result: Set<String> = []
        for (key, value) in node["properties"] as? [String: [String: Any]] ?? [:] {
            let inner = path.isEmpty ? key : "\(path).\(key)"
            result.insert(inner)
            result.formUnion(keys(value, inner))
        }
        if let items = node["items"] as? [String: Any] { result.formUnion(keys(items, path)) }
        for either in node["anyOf"] as? [[String: Any]] ?? [] { result.formUnion(keys(either, path)) }
        if let named = node["additionalProperties"] as? [String: Any] { result.formUnion(keys(named, path + ".*")) }
        return result
    }

    @Test func describesEachKeyThatIsReadAndNoOther() throws {
        let text = try Data(contentsOf: root.appending(path: "Config/sluice.yaml"))
        let read = ConfigurationLoader.knownKeys(text: Array(text)).map { key in
            let parts = key.split(separator: ".").map(String.init)
            guard parts.count > 1, ["upstreams", "dialects"].contains(parts[0]) else { return key }
            return ([parts[0], "*"] + parts[2...]).joined(separator: ".")
        }
        // One reader and one schema serve both the top level and routes; the reference shows all of it at the top.
        let twice = ["auth", "cors", "rate_limit"].map { "routes.\($0)." }
        let described = keys(try schema()).filter { key in !twice.contains { key.hasPrefix($0) } }
        #expect(
            Set(read).filter { key in !twice.contains { key.hasPrefix($0) } }.subtracting(described) == [],
            "keys that the schema does not know")
        #expect(described.subtracting(read) == [], "keys that nobody reads")
    }

    @Test func everyKeyIsDescribed() throws {
        func check(_ node: [String: Any]) {
            for (key, value) in node["properties"] as? [String: [String: Any]] ?? [:] {
                #expect((value["description"] as? String)?.isEmpty == false, "\(key)")
                check(value)
            }
            for inner in [node["items"], node["additionalProperties"]] {
                if let inner = inner as? [String: Any] { check(inner) }
            }
            for either in node["anyOf"] as? [[String: Any]] ?? [] { check(either) }
        }
        check(try schema())
    }

    @Test func namesTheFormats() {
        let schema = ConfigurationSchema.document()
        let route = schema["properties"]?["routes"]?["items"]?["properties"]
        func names(_ key: String) -> [String] {
            (route?[key]?["anyOf"]?.elements?.first?["enum"]?.elements ?? []).compactMap { $0.string?.text }
        }
        #expect(names("request") == RequestFormat.allCases.map(\.rawValue))
        #expect(names("response") == StreamFormat.allCases.map(\.rawValue) + ["auto"])
    }

    @Test func referencesOnlyWhatIsDefined() throws {
        let text = ConfigurationSchema.text()
        let defined = Set((try schema()["$defs"] as? [String: Any] ?? [:]).keys)
        for match in text.matches(of: /#\/\$defs\/([a-z]+)/) { #expect(defined.contains(String(match.1))) }
        #expect(defined.contains("secret") && text.contains("#/$defs/secret"))
    }
}
