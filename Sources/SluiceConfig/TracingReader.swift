import SluiceBytes
import SluiceStreams

/// `tracing: off | {endpoint, protocol, headers, sample, tls}`. What stands in the file goes before OpenTelemetry's variables, each key
/// for itself; what does not stand there is theirs.
extension ConfigurationReader {
    func readTracing(_ root: inout Section) -> (spec: TracingSpec?, warnings: [String]) {
        guard let node = root.value("tracing") else {
            let environment = TracingEnvironment(context.environment)
            return (environment.spec, environment.warnings)
        }
        if case .scalar(let text, _) = node.kind, text == "off" || text == "false" { return (nil, []) }
        guard var section = Section(node, path: "tracing", context: context) else { return (nil, []) }
        let endpoint = readEndpoint(&section)
        let environment = TracingEnvironment(context.environment, isWanted: true, endpoint: endpoint)
        var spec = environment.spec
        if let encoding = section.choice("protocol", TracingSpec.Encoding.self) { spec?.encoding = encoding }
        if let headers = section.section("headers") {
            spec?.headers = readHeaders(headers).map { .init(name: $0.name, value: $0.value) }
        }
        if let ratio = readSample(&section) { spec?.sampler = .init(isParentBased: true, ratio: ratio) }
        if var tls = section.section("tls") { spec?.tls = readTLS(&tls) }
        section.finish()
        return (spec, environment.warnings)
    }

    private func readEndpoint(_ section: inout Section) -> TracingSpec? {
        guard let text = section.string("endpoint"), let node = section.value("endpoint") else { return nil }
        if let url = UpstreamURL(text) {
            // As with OTEL_EXPORTER_OTLP_ENDPOINT, unless it names a path.
            return TracingSpec(endpoint: text, isBase: url.basePath.isEmpty)
        }
        let shown = UpstreamURL.withoutSecrets(text)
        context.report(
            node, section.path(of: "endpoint"),
            "'\(shown)' is not http(s)://host[:port][/path] without user, query and fragment")
        return nil
    }

    private func readSample(_ section: inout Section) -> Double? {
        guard let text = section.string("sample"), let node = section.value("sample") else { return nil }
        if let ratio = Double(text), (0...1).contains(ratio) { return ratio }
        context.report(node, section.path(of: "sample"), "'\(text)' is no number from 0 to 1")
        return nil
    }
}

/// The schema of `tracing`.
enum TracingSchema {
    private typealias Key = SchemaBuilder.Key
    private typealias Build = SchemaBuilder

    static let own = SchemaBuilder.Key(
        "tracing", offOrMapping, "OTLP traces; where it says nothing, OpenTelemetry's variables (OTEL_*) count.")

    private static let keys = [
        Key(
            "endpoint", Build.text,
            "http(s)://host[:port], to which /v1/traces is added, or with the path that requests go to."),
        Key("protocol", Build.choice(TracingSpec.Encoding.self), "How spans are written."),
        Key("headers", Build.names(of: Build.secret), "On each request to the endpoint."),
        Key(
            "sample", Build.either(["type": "number", "minimum": 0, "maximum": 1], Build.text),
            "The share of traces that begin here; who comes with one has decided already."),
        Key("tls", Build.mapping(ConfigurationSchema.clientTLS), "How the endpoint is verified, and what it is shown."),
    ]

    /// `pattern` looks only at texts, `properties` only at mappings. YAML may take `off` for a flag.
    private static var offOrMapping: JSONValue {
        var value = Build.mapping(keys)
        value["type"] = ["object", "string", "boolean"]
        value["pattern"] = "^(off|false)$"
        return value
    }
}
