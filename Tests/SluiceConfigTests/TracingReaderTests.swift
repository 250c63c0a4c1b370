import SluiceBytes
import Testing

@testable import SluiceConfig

@Suite struct TracingReaderTests {
    private static let base = ["OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4318"]

    private func read(_ more: [String: String]) -> TracingEnvironment {
        TracingEnvironment(Self.base.merging(more) { $1 })
    }

    // MARK: - Where to

    @Test(
        arguments: [
            ([:], nil), (["OTEL_EXPORTER_OTLP_ENDPOINT": " "], nil),
            (["OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4318"], "c 4318 /v1/traces"),
            (["OTEL_EXPORTER_OTLP_ENDPOINT": "https://c/base/"], "c 443 /base/v1/traces"),
            (["OTEL_EXPORTER_OTLP_ENDPOINT": "http://[::1]:1"], "::1 1 /v1/traces"),
            (["OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://c"], "c 80 /"),
            (["OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://c/x/"], "c 80 /x/"),
            (
                [
                    "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://c/x",
                    "OTEL_EXPORTER_OTLP_ENDPOINT": "http://d",
                ], "c 80 /x"
            ),
            (["OTEL_TRACES_EXPORTER": "otlp"], "localhost 4318 /v1/traces"),
            (["OTEL_TRACES_EXPORTER": "OTLP"], "localhost 4318 /v1/traces"),
            (["OTEL_TRACES_EXPORTER": "none", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://c"], nil),
            (["OTEL_SDK_DISABLED": "True", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://c"], nil),
            (["OTEL_SDK_DISABLED": "false", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://c"], "c 80 /v1/traces"),
        ] as [([String: String], String?)]) func endpoints(variables: [String: String], place: String?)
    {
        let read = TracingEnvironment(variables)
        #expect(read.spec.map { "\($0.endpoint.host) \($0.endpoint.port) \($0.path)" } == place)
        #expect(read.warnings == [])
    }

    @Test(
        arguments: [
            (["OTEL_EXPORTER_OTLP_ENDPOINT": "c:4318"], "OTEL_EXPORTER_OTLP_ENDPOINT"),
            (["OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://u:p@c"], "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"),
            (["OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"], "http/protobuf"),
            (["OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4317"], "HTTP has 4318"),
            (["OTEL_EXPORTER_OTLP_PROTOCOL": "thrift"], "'thrift' is none of"),
            (["OTEL_EXPORTER_OTLP_HEADERS": "a"], "is left out"),
            (["OTEL_EXPORTER_OTLP_HEADERS": "a=b%0Ac"], "is left out"),
            (["OTEL_EXPORTER_OTLP_HEADERS": "a b=c"], "is left out"),
            (["OTEL_EXPORTER_OTLP_TIMEOUT": "-1"], "'-1' is no number of milliseconds"),
            (["OTEL_EXPORTER_OTLP_COMPRESSION": "br"], "none of gzip, none"),
            (["OTEL_EXPORTER_OTLP_CLIENT_KEY": "k"], "only together"),
            (["OTEL_RESOURCE_ATTRIBUTES": "a=b,c=%f"], "percent escapes"),
            (["OTEL_TRACES_SAMPLER": "jaeger_remote"], "parentbased_always_on"),
            (["OTEL_TRACES_SAMPLER": "traceidratio", "OTEL_TRACES_SAMPLER_ARG": "2"], "no number from 0 to 1"),
            (["OTEL_BSP_MAX_QUEUE_SIZE": "0"], "from 1 on"),
            (["OTEL_BSP_MAX_QUEUE_SIZE": "9999999999"], "from 1 on"),
            (["OTEL_BSP_SCHEDULE_DELAY": "5s"], "milliseconds"),
            (["OTEL_BSP_MAX_EXPORT_BATCH_SIZE": "5000"], "OTEL_BSP_MAX_QUEUE_SIZE"),
            (["OTEL_PROPAGATORS": "b3multi"], "not supported"), (["OTEL_SDK_DISABLED": "1"], "neither true nor false"),
            (["OTEL_TRACES_EXPORTER": "zipkin,otlp"], "'zipkin' is none of"),
        ] as [([String: String], String)]) func faultsAreToldAndLeftOut(variables: [String: String], text: String)
    {
        let found = read(variables)
        #expect(found.warnings.count == 1)
        #expect(found.warnings.first?.contains(text) == true, "\(found.warnings)")
        #expect(found.spec?.encoding == .protobuf && found.spec?.timeout == .seconds(10))
        #expect(found.spec?.headers == [] && found.spec?.resource == [] && found.spec?.isCompressed == false)
        #expect(found.spec?.batch.queueSize == 2048 && found.spec?.batch.delay == .seconds(5))
        #expect(found.spec?.sampler.ratio == 1)
        #expect(found.spec?.tls == ClientTLSSpec())
    }

    @Test func ofTracesGoesBeforeOfAll() {
        let spec = read([
            "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf", "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL": "http/json",
            "OTEL_EXPORTER_OTLP_TIMEOUT": "1", "OTEL_EXPORTER_OTLP_TRACES_TIMEOUT": "0",
            "OTEL_EXPORTER_OTLP_COMPRESSION": "gzip", "OTEL_EXPORTER_OTLP_TRACES_COMPRESSION": "none",
            "OTEL_EXPORTER_OTLP_HEADERS": "a=1", "OTEL_EXPORTER_OTLP_TRACES_HEADERS": "b=2",
        ]).spec
        #expect(spec?.encoding == .json && spec?.isCompressed == false)
        #expect(spec?.timeout == .seconds(86_400))
        #expect(spec?.headers.map(\.name) == ["b"])
    }

    @Test func headersAreSecrets() {
        let headers = read(["OTEL_EXPORTER_OTLP_HEADERS": "a=1, Authorization = Bearer%20x%3D%C3%BC ,,a=2"]).spec?
            .headers
        #expect(headers?.map(\.name) == ["Authorization", "a"])
        #expect(headers?.map(\.value.revealed) == ["Bearer x=ü", "2"])
        #expect("\(headers ?? [])".contains("Bearer") == false)
    }

    @Test func resource() {
        let given = "service.name=a,x=1,y=%2C,x=2"
        let spec = read(["OTEL_RESOURCE_ATTRIBUTES": given]).spec
        #expect(spec?.serviceName == "a")
        #expect(spec?.resource == [.init(name: "y", value: ","), .init(name: "x", value: "2")])
        #expect(read(["OTEL_RESOURCE_ATTRIBUTES": given, "OTEL_SERVICE_NAME": "b"]).spec?.serviceName == "b")
        #expect(read([:]).spec?.serviceName == "sluice")
    }

    @Test(
        arguments: [
            ("always_on", nil, false, 1), ("always_off", nil, false, 0), ("traceidratio", "0.25", false, 0.25),
            ("parentbased_always_off", nil, true, 0), ("Parentbased_TraceIdRatio", "1e-3", true, 0.001),
            ("traceidratio", nil, false, 1), ("always_off", "0.5", false, 0),
        ] as [(String, String?, Bool, Double)])
    func samplers(name: String, argument: String?, isParentBased: Bool, ratio: Double) {
        var variables = ["OTEL_TRACES_SAMPLER": name]
        variables["OTEL_TRACES_SAMPLER_ARG"] = argument
        let found = read(variables)
        #expect(found.spec?.sampler == .init(isParentBased: isParentBased, ratio: ratio) && found.warnings == [])
    }

    @Test func limitsOfSpansGoBeforeLimitsOfAll() {
        let spec = read([
            "OTEL_ATTRIBUTE_COUNT_LIMIT": "5", "OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT": "6",
            "OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT": "7", "OTEL_SPAN_EVENT_COUNT_LIMIT": "0",
        ]).spec
        #expect(spec?.limits == .init(valueLength: 7, attributes: 6, events: 0, eventAttributes: 5))
    }

    @Test func propagators() {
        #expect(read(["OTEL_PROPAGATORS": "tracecontext,baggage"]).spec?.propagates == true)
        #expect(read(["OTEL_PROPAGATORS": "none"]).spec?.propagates == false)
        #expect(read(["OTEL_PROPAGATORS": "baggage"]).spec?.propagates == false)
    }

    // MARK: - The file

    private func parse(_ tracing: String, _ environment: [String: String] = [:]) throws -> Configuration {
        let text = """
            listeners: [{address: ':0'}]
            upstreams: {a: {url: 'http://127.0.0.1:1/v1', dialect: openai-chat}}
            routes: [{path: /x, request: prompt, response: text, upstream: a}]
            \(tracing)
            """
        return try ConfigurationLoader.parse(text: Array(text.utf8), file: "test.yaml", environment: environment)
    }

    @Test func theFileGoesBeforeTheEnvironment() throws {
        #expect(try parse("").tracing == nil)
        #expect(try parse("", Self.base).tracing?.endpoint.host == "c")
        #expect(try parse("tracing: off", Self.base).tracing == nil)
        #expect(try parse("tracing: false", Self.base).tracing == nil)
        #expect(try parse("tracing: {}", Self.base).tracing?.endpoint.host == "c")
        #expect(try parse("tracing: {}").tracing?.endpoint.port == 4318)
        #expect(try parse("tracing: {}", ["OTEL_SDK_DISABLED": "true"]).tracing == nil)
        let text = "tracing: {endpoint: 'https://d', headers: {x-key: '${KEY}'}, sample: 0.5, protocol: http/json}"
        let more = [
            "KEY": "k", "OTEL_TRACES_SAMPLER": "always_off", "OTEL_EXPORTER_OTLP_HEADERS": "a=b",
            "OTEL_SERVICE_NAME": "n",
        ]
        let spec = try #require(try parse(text, Self.base.merging(more) { $1 }).tracing)
        #expect(spec.endpoint.host == "d" && spec.path == "/v1/traces" && spec.serviceName == "n")
        #expect(spec.headers.map(\.name) == ["x-key"] && spec.headers.first?.value.revealed == "k")
        #expect(spec.sampler == .init(isParentBased: true, ratio: 0.5) && spec.encoding == .json)
        #expect(try parse("tracing: {endpoint: 'http://d/x'}").tracing?.path == "/x")
    }

    @Test(arguments: [
        ("tracing: on", "tracing: must be a mapping, not a single value"),
        (
            "tracing: {endpoint: 'd:1'}",
            "tracing.endpoint: 'd:1' is not http(s)://host[:port][/path] without user, query and fragment"
        ),
        ("tracing: {sample: 2}", "tracing.sample: '2' is no number from 0 to 1"),
        ("tracing: {protocol: grpc}", "tracing.protocol: 'grpc' is not one of http/protobuf, http/json"),
        ("tracing: {endpiont: x}", "tracing.endpiont: unknown key (did you mean 'endpoint'?)"),
    ]) func faultsOfTheFile(text: String, message: String) {
        do {
            _ = try parse(text)
            Issue.record("no fault")
        } catch let faults as ConfigurationFaults {
            #expect(faults.issues.map { "\($0.path): \($0.message)" } == [message])
        } catch {
            Issue.record("\(error)")
        }
    }
}
