import SluiceBytes
import SluiceConfig
import SluiceStreams
import Testing

@Suite struct SmoothReaderTests {
    private func parse(_ smooth: String, format: String = "request: prompt, response: text") throws -> Configuration {
        let text = """
            listeners: [{address: ':0'}]
            upstreams: {a: {url: 'http://127.0.0.1:1/v1', dialect: openai-chat}}
            routes:
              - {path: /x, \(format), upstream: a\(smooth)}
            """
        return try ConfigurationLoader.parse(text: Array(text.utf8), file: "test.yaml", environment: ["SMOOTH": "word"])
    }

    @Test(
        arguments: [
            ("", nil), (", smooth: off", nil), (", smooth: false", nil), (", smooth: word", .word),
            (", smooth: '${SMOOTH}'", .word), (", smooth: {interval: 20ms}", .interval(.milliseconds(20))),
            (", smooth: {interval: 1s}", .interval(.seconds(1))),
        ] as [(String, Smoother.Pace?)]) func isRead(text: String, pace: Smoother.Pace?) throws
    {
        #expect(try parse(text).routes.first?.smooth == pace)
    }

    @Test(arguments: [
        (
            "words",
            "routes[0].smooth: 'words' is not one of off, word (did you mean 'word'?), or a mapping such as {interval: 20ms}"
        ),
        ("20ms", "routes[0].smooth: '20ms' is not one of off, word, or a mapping such as {interval: 20ms}"),
        ("[word]", "routes[0].smooth: must be a single value, not a list"),
        ("{}", "routes[0].smooth.interval: is required"),
        ("{interval: 0}", "routes[0].smooth.interval: must be from 5ms to 1s"),
        ("{interval: 2s}", "routes[0].smooth.interval: must be from 5ms to 1s"),
        ("{interval: 20ms, interwal: 1s}", "routes[0].smooth.interwal: unknown key (did you mean 'interval'?)"),
    ]) func faultsAreReported(value: String, message: String) {
        #expect(faults(", smooth: \(value)") == [message])
    }

    @Test func passthroughIsNotPaced() {
        let found = faults(", smooth: word", format: "request: passthrough, response: passthrough")
        #expect(found == ["routes[0].smooth: a passthrough answer is not changed; take this out"])
    }

    private func faults(_ smooth: String, format: String = "request: prompt, response: text") -> [String] {
        do {
            _ = try parse(smooth, format: format)
            return []
        } catch {
            return (error as? ConfigurationFaults)?.issues.map { "\($0.path): \($0.message)" } ?? ["\(error)"]
        }
    }
}
