import SluiceConfig
import SluiceHTTP
import SluiceStreams
import Testing

@testable import SluiceProxy

@Suite struct OpenMetricsTests {
    private static let trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"

    private func text(_ format: MetricsFormat = .openMetrics, _ write: (inout MetricsText) -> Void) -> String {
        var out = MetricsText(format)
        write(&out)
        return String(decoding: out.finished(), as: UTF8.self)
    }

    private func traced(_ traceparent: String, at time: Double, span: String = "00f067aa0ba902b7") -> TracedExchange? {
        TracedExchange(TraceContext(traceparent), spanID: span, time: time)
    }

    // MARK: - The format

    @Test func familiesHaveTheirUnitAndCountersTheirEnding() {
        let written = text { out in
            out.family("a_bytes_total", .counter, "A \"quoted\" word.")
            out.sample([(name: "x", value: "1")], 3)
            out.sample([(name: "x", value: "2")], 4)
            out.family("b_info", .info, "B.")
            out.sample([(name: "version", value: "1.0")], 1)
            out.family("c", .gauge, "C.")
            out.sample([], 0.25)
        }
        #expect(
            written == """
                # TYPE a_bytes counter
                # UNIT a_bytes bytes
                # HELP a_bytes A \\"quoted\\" word.
                a_bytes_total{x="1"} 3
                a_bytes_total{x="2"} 4
                # TYPE b info
                # HELP b B.
                b_info{version="1.0"} 1
                # TYPE c gauge
                # HELP c C.
                c 0.25
                # EOF

                """)
    }

    @Test func bucketsHaveExemplarsInOpenMetricsAlone() throws {
        let own = try #require(traced(Self.trace, at: 1_700_000_001.25))
        var histogram = Histogram([0.5, 1])
        histogram.observe(0.25)
        histogram.observe(0.75, own)
        func write(_ out: inout MetricsText) {
            out.family("h_seconds", .histogram, "H.")
            out.sample([], histogram)
        }
        #expect(
            text(.openMetrics, write).split(separator: "\n").dropFirst(3) == [
                #"h_seconds_bucket{le="0.5"} 1"#,
                #"h_seconds_bucket{le="1.0"} 2 # {trace_id="0af7651916cd43dd8448eb211c80319c",span_id="00f067aa0ba902b7"} 0.75 1700000001.25"#,
                #"h_seconds_bucket{le="+Inf"} 2"#, "h_seconds_sum 1", "h_seconds_count 2", "# EOF",
            ])
        #expect(!text(.text, write).contains("trace_id"))
    }

    @Test(arguments: [
        (0.0001, "0.0001"), (0.00001, "1e-05"), (0.5, "0.5"), (1, "1.0"), (81.92, "81.92"), (262_144, "262144.0"),
        (1_000_000, "1e+06"), (1_048_576, "1.048576e+06"), (67_108_864, "6.7108864e+07"), (1e10, "1e+10"),
        (.infinity, "+Inf"),
    ])
    func boundsAreAsGoWritesThem(bound: Double, text: String) { #expect(MetricsText.bound(bound) == text) }

    /// Two families of one name are an error in OpenMetrics, and there a counter's name lacks its ending.
    @Test func noTwoFamiliesHaveOneName() {
        let written = String(decoding: MetricsExposition.text([], .init(), .openMetrics), as: UTF8.self)
        var seen: Set<Substring> = []
        let endings = ["_total", "_created", "_bucket", "_sum", "_count", "_info"]
        for line in written.split(separator: "\n") where line.hasPrefix("# TYPE ") {
            let name = line.dropFirst(7).prefix { $0 != " " }
            #expect(seen.insert(name).inserted, "\(name) is there twice")
            #expect(!endings.contains { name.hasSuffix($0) }, "\(name) ends like a sample")
        }
        #expect(seen.count > 60)
    }

    // MARK: - Exemplars

    @Test(arguments: [
        "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00",
        "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-02",
    ])
    func whatNobodyKeepsIsNoExemplar(traceparent: String) { #expect(traced(traceparent, at: 1) == nil) }

    @Test func whatHasNoTraceOrNoSpanIsNoExemplar() {
        #expect(TracedExchange(nil, spanID: "00f067aa0ba902b7", time: 1) == nil)
        #expect(traced(Self.trace, at: 1, span: "") == nil)
        #expect(traced("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-03", at: 1) != nil)
    }

    @Test func leadingZerosOfIDsStay() throws {
        let own = try #require(
            traced("00-00000000000000000000000000000001-b7ad6b7169203331-01", at: 2, span: "0000000000000002"))
        let text = Exemplar(exchange: own, value: 3).text
        #expect(text == #" # {trace_id="00000000000000000000000000000001",span_id="0000000000000002"} 3 2"#)
        #expect("trace_id".count + 32 + "span_id".count + 16 <= 128)
    }

    @Test func theNewestOfTheWorkersIsTold() throws {
        let (old, new) = (try #require(traced(Self.trace, at: 1)), try #require(traced(Self.trace, at: 2)))
        var (left, right, untraced) = (Histogram([1, 2]), Histogram([1, 2]), Histogram([1, 2]))
        left.observe(0.5, new)
        left.observe(1.5, old)
        right.observe(0.75, old)
        right.observe(1.75, new)
        right.observe(9, old)
        untraced.observe(0.5)
        var sum = untraced
        for other in [left, right, untraced] { sum.add(other) }
        #expect(sum.exemplars.map { $0?.value } == [0.5, 1.75, 9])
        #expect(sum.counts == [4, 2, 1])
        // A later value without a trace leaves the exemplar where it is.
        sum.observe(0.6)
        #expect(sum.exemplars[0]?.value == 0.5)
        #expect(untraced.exemplars.isEmpty)
    }

    // MARK: - Which format

    @Test(arguments: [
        // Prometheus 2.42, and 3 with and without native histograms.
        (
            "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,"
                + "text/plain;version=0.0.4;q=0.5,*/*;q=0.1", MetricsFormat.openMetrics
        ),
        (
            "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.5,application/openmetrics-text;"
                + "version=0.0.1;q=0.4,text/plain;version=1.0.0;escaping=allow-utf-8;q=0.3,text/plain;version=0.0.4;"
                + "q=0.2,*/*;q=0.1", .openMetrics
        ),
        (
            "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited,"
                + "application/openmetrics-text;version=1.0.0;q=0.8,*/*;q=0.2", .openMetrics
        ),
        ("application/openmetrics-text; version=1.0.0; charset=utf-8", .openMetrics),
        ("Application/OpenMetrics-Text ; Version=\"1.0.0\" ; Q=1", .openMetrics),
        ("application/openmetrics-text", .openMetrics),
        ("text/plain;q=0.3, application/openmetrics-text;q=0.5", .openMetrics),
        ("text/html, application/*;q=0.9, */*;q=0.8", .openMetrics),
        ("text/plain;q=0, application/openmetrics-text;q=0.001", .openMetrics),
        ("application/openmetrics-text;version=0.0.1", .text),
        ("application/openmetrics-text;version=2.0.0, text/plain", .text),
        ("application/openmetrics-text;q=0.5, text/plain;version=0.0.4", .text),
        ("application/openmetrics-text;q=0", .text),
        ("text/plain, application/openmetrics-text", .text),
        ("application/openmetrics-text;q=2", .text), ("application/openmetrics-text;q=nan", .text),
        ("application/openmetrics-text;q=", .openMetrics), ("\"application/openmetrics-text, \"", .text),
        ("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", .text), ("*/*", .text), ("", .text),
        (",;,=;q", .text), ("image/png", .text),
    ])
    func isWhatTheScraperLikesBest(accept: String, format: MetricsFormat) {
        #expect(MetricsFormat(accept: accept) == format)
    }

    @Test func severalFieldsAreOneList() {
        var fields = HeaderFields()
        fields.append("Accept", "text/plain;q=0.5")
        fields.append("accept", "application/openmetrics-text;version=1.0.0")
        #expect(MetricsFormat(accepted: fields) == .openMetrics)
        #expect(MetricsFormat(accepted: HeaderFields()) == .text)
    }

    // MARK: - What is known beforehand

    @Test func whatCanHappenIsThereBeforeItDoes() throws {
        let url = try #require(UpstreamURL("http://127.0.0.1:1/v1"))
        let upstreams = ["u", "v"].map { UpstreamSpec(name: $0, url: url, wire: .dialect(.openAIChat)) }
        var routes = [
            Route(path: .exact("/a"), request: .openAIChat, response: .format(.text), upstream: 0),
            Route(path: .prefix("/b/"), request: .anthropic, response: .auto, upstream: 0),
        ]
        routes[1].upstreams.append(Route.Choice(upstream: 1))
        var state = MetricsExposition.ProcessState()
        state.known = KnownSeries(Configuration(listeners: [], upstreams: upstreams, routes: routes))
        let written = String(decoding: MetricsExposition.text([], state), as: UTF8.self)
        for line in [
            #"sluice_streams_ended_total{route="/a",upstream="u",format="text",reason="eof",status="200"} 0"#,
            #"sluice_streams_ended_total{route="/b/*",upstream="v",format="anthropic",reason="done",status="200"} 0"#,
            #"sluice_requests_total{route="/b/*",status="502"} 0"#,
            #"sluice_output_tokens_total{route="/a",upstream="u",format="text"} 0"#,
            #"sluice_streams_active{route="/a"} 0"#, #"sluice_buffered_bytes{route="/b/*"} 0"#,
        ] {
            #expect(written.contains("\n\(line)\n"), "\(line)")
        }
        let many = (0..<500).map {
            Route(path: .exact("/\($0)"), request: .openAIChat, response: .format(.text), upstream: 0)
        }
        let crowded = KnownSeries(Configuration(listeners: [], upstreams: upstreams, routes: many))
        #expect(crowded.routes.count == 500)
        #expect((900...1000).contains(crowded.ends.count))
    }
}
