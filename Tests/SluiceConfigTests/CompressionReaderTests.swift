import SluiceConfig
import Testing

@Suite struct CompressionReaderTests {
    private func read(_ root: String, _ routes: [String]) throws -> [[Route.Coding]] {
        let routes = routes.map { "  - {path: /\($0.count), request: prompt, response: text, upstream: a\($0)}\n" }
        let text = """
            listeners: [{address: ':0'}]
            upstreams: {a: {url: 'http://127.0.0.1:1/v1', dialect: openai-chat}}
            \(root)
            routes:
            \(routes.joined())
            """
        return try ConfigurationLoader.parse(text: Array(text.utf8), file: "c.yaml", environment: [:])
            .routes.map(\.compress)
    }

    private func faults(_ root: String, _ routes: [String]) -> [String] {
        do {
            _ = try read(root, routes)
            return []
        } catch {
            return (error as? ConfigurationFaults)?.issues.map { "\($0.path): \($0.message)" } ?? ["\(error)"]
        }
    }

    @Test func offUnlessSomethingIsSaid() throws {
        #expect(try read("", [""]) == [[]])
        #expect(try read("", [", compress: [br, gzip]"]) == [[.br, .gzip]])
        #expect(try read("", [", compress: gzip"]) == [[.gzip]])
        #expect(
            try read("compress: [gzip, br]", ["", ", compress: off", ", compress: [br]"]) == [[.gzip, .br], [], [.br]])
        #expect(try read("compress: []", [""]) == [[]])
    }

    @Test(arguments: [
        (", compress: [gzp]", "routes[0].compress[0]: 'gzp' is not one of br, gzip (did you mean 'gzip'?)"),
        (", compress: zstd", "routes[0].compress: 'zstd' is not one of br, gzip, off"),
        (", compress: [br, br]", "routes[0].compress[1]: stands here twice"),
        (", compress: {gzip: 1}", "routes[0].compress: must be a single value, not a mapping"),
    ])
    func whatIsNoCoding(setting: String, fault: String) { #expect(faults("", [setting]) == [fault]) }
}
