import SluiceBytes
import SluiceConfig
import SluiceHTTP
import SluiceStreams
import Testing

@testable import SluiceProxy

@Suite struct MetricsTests {
    @Test func aValueFallsIntoTheFirstBucketThatHoldsIt() {
        var histogram = Histogram([1, 2.5, 10])
        for value in [0, 1, 1.01, 2.5, 10, 11, .infinity] { histogram.observe(value) }
        #expect(histogram.counts == [2, 2, 1, 2])
        #expect(histogram.count == 7)
        var other = Histogram([1, 2.5, 10])
        other.observe(0.5)
        other.add(histogram)
        #expect(other.counts == [3, 2, 1, 2])
    }

    @Test(arguments: [
        Buckets.duration, Buckets.firstToken, Buckets.perToken, Buckets.tokens, Buckets.gap, Buckets.cancel,
    ])
    func boundsRise(bounds: [Double]) {
        #expect(zip(bounds, bounds.dropFirst()).allSatisfy { $0 < $1 })
    }

    private func text(_ write: (inout MetricsText) -> Void) -> String {
        var out = MetricsText()
        write(&out)
        return String(decoding: out.finished(), as: UTF8.self)
    }

    @Test func familiesAreWrittenAsPrometheusReadsThem() {
        let written = text { out in
            out.family("a_total", .counter, "Line\nand \\ slash.")
            out.sample([], 3)
            out.sample([(name: "path", value: "a\"b\\c\nd")], 4)
            out.family("b", .gauge, "B.")
            out.sample([], 0.25)
        }
        #expect(
            written == """
                # HELP a_total Line\\nand \\\\ slash.
                # TYPE a_total counter
                a_total 3
                a_total{path="a\\"b\\\\c\\nd"} 4
                # HELP b B.
                # TYPE b gauge
                b 0.25

                """)
    }

    @Test func bucketsAreCumulative() {
        var histogram = Histogram([0.1, 5])
        for value in [0.05, 1, 2, 9] { histogram.observe(value) }
        let written = text { out in
            out.family("h", .histogram, "H.")
            out.sample([(name: "x", value: "y")], histogram)
        }
        #expect(
            written.split(separator: "\n").dropFirst(2) == [
                #"h_bucket{x="y",le="0.1"} 1"#, #"h_bucket{x="y",le="5.0"} 3"#, #"h_bucket{x="y",le="+Inf"} 4"#,
                #"h_sum{x="y"} 12.05"#, #"h_count{x="y"} 4"#,
            ])
    }

    @Test(arguments: [
        (1.0, "1"), (0.001, "0.001"), (0.0001, "0.0001"), (67_108_864, "67108864"), (Double.infinity, "+Inf"),
        (-Double.infinity, "-Inf"), (Double.nan, "NaN"), (-2.5, "-2.5"),
    ])
    func numbers(value: Double, text: String) { #expect(MetricsText.text(value) == text) }

    @Test func aHundredModelsHaveSeriesAndThoseOfTheConfiguration() {
        let names = ModelNames()
        names.configure(["own"])
        for number in 0..<500 {
            #expect(names.label(for: "m\(number)") == (number < 100 ? "m\(number)" : "other"))
        }
        #expect(names.label(for: "own") == "own")
        #expect(names.label(for: "m7") == "m7")
        #expect(names.label(for: "") == "")
        #expect(ModelNames().label(for: String(repeating: "x", count: 129)) == "other")
        #expect(ModelNames().label(for: "a\nb") == "other")
    }

    @Test(arguments: [
        ("https://api.openai.com/v1", Dialect.openAIChat, "openai", "chat"),
        ("https://x.openai.azure.com/openai", .openAIChat, "azure.ai.openai", "chat"),
        ("https://api.groq.com/openai/v1", .openAIChat, "groq", "chat"),
        ("http://127.0.0.1:8000/v1", .openAICompletions, "openai", "text_completion"),
        ("https://api.anthropic.com", .anthropicMessages, "anthropic", "chat"),
        ("https://bedrock-runtime.eu-central-1.amazonaws.com", .bedrockConverse, "aws.bedrock", "chat"),
        ("https://generativelanguage.googleapis.com", .gemini, "gcp.gemini", "generate_content"),
        ("https://europe-west1-aiplatform.googleapis.com", .gemini, "gcp.vertex_ai", "generate_content"),
    ])
    func providers(url: String, dialect: Dialect, provider: String, operation: String) throws {
        let spec = UpstreamSpec(name: "u", url: try #require(UpstreamURL(url)), wire: .dialect(dialect))
        let labels = UpstreamLabels(spec)
        #expect(labels.provider == provider)
        #expect(labels.operation == operation)
    }

    @Test func everyNumberOfAWorkerIsExported() {
        var report = WorkerReport()
        report.counters.exchanges = 2
        let written = String(decoding: MetricsExposition.text([report, report], .init()), as: UTF8.self)
        #expect(written.contains("\nsluice_exchanges_total 4\n"))
        let grouped = WorkerMetrics.groups.flatMap(\.members).map(\.field)
        var fields: Set<String> = []
        for child in Mirror(reflecting: WorkerMetrics()).children where child.value is Int {
            let field = child.label ?? "?"
            fields.insert(field)
            if grouped.contains(field) { continue }
            #expect(written.contains("\nsluice_\(ConfigurationDump.snake(field))_total "))
            #expect(WorkerMetrics.help[field] != nil, "operators want to know what \(field) is")
        }
        #expect(fields.isSuperset(of: grouped))
        report.counters.retriesReset = 3
        let again = String(decoding: MetricsExposition.text([report, report], .init()), as: UTF8.self)
        #expect(again.contains("\nsluice_retry_attempts_total{cause=\"reset\"} 6\n"))
    }
}

@Suite struct TraceContextTests {
    @Test func isContinuedByAChild() throws {
        let trace = try #require(TraceContext("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"))
        #expect(trace.traceID == "0af7651916cd43dd8448eb211c80319c")
        #expect(trace.parentID == "b7ad6b7169203331")
        #expect(
            trace.child(span: "00f067aa0ba902b7") == "00-0af7651916cd43dd8448eb211c80319c-00f067aa0ba902b7-01")
    }

    @Test func laterVersionsMayHoldMore() {
        #expect(TraceContext("cc-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-what") != nil)
        #expect(TraceContext("cc-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01") != nil)
        #expect(TraceContext("cc-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01.what") == nil)
    }

    @Test(arguments: [
        "", "00", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331",
        "00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01",
        "00-00000000000000000000000000000000-b7ad6b7169203331-01",
        "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
        "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-",
        "00-0af7651916cd43dd8448eb211c80319cxb7ad6b7169203331-01",
        "00-0af7651916cd43dd8448eb211c80319g-b7ad6b7169203331-01",
    ])
    func isRefused(text: String) { #expect(TraceContext(text) == nil) }
}
