import SluiceConfig
import SluiceStreams
import Testing

@Suite struct WorkflowReaderTests {
    private func parse(_ routes: String...) throws(ConfigurationFaults) -> [Route] {
        let text = """
            listeners: [{address: ':0'}]
            upstreams: {a: {dialect: openai-chat, url: 'http://h'}}
            routes:
            \(routes.map { "- {upstream: a, \($0)}" }.joined(separator: "\n"))
            """
        return try ConfigurationLoader.parse(text: Array(text.utf8), file: "f", environment: [:]).routes
    }

    private func faults(_ routes: String...) -> [String] {
        let text = routes.map { "- {upstream: a, \($0)}" }.joined(separator: "\n")
        let file = "listeners: [{address: ':0'}]\nupstreams: {a: {dialect: openai-chat, url: 'http://h'}}\nroutes:\n"
        do throws(ConfigurationFaults) {
            _ = try ConfigurationLoader.parse(text: Array((file + text).utf8), file: "f", environment: [:])
            return []
        } catch {
            return error.issues.map { "\($0.path): \($0.message)" }
        }
    }

    private let runs = "path: /api/workflows/runs, request: run, response: auto"

    @Test func thePathMakesAWorkflow() throws {
        let route = try #require(try parse(runs).first)
        let workflow = try #require(route.workflow)
        #expect(workflow.id == "__workflow__" && workflow.base == "/api" && workflow.isDefault && workflow.streams)
        #expect(workflow.input == ["prompt"] && workflow.output == nil && workflow.title == nil)
        #expect(route.methods == ["POST"] && route.response == .format(.sseText) && route.resume == nil)
        #expect(route.tasks.ttl == .seconds(3600) && route.tasks.store == .memory)
        let bare = try #require(try parse("path: /workflows/runs, request: run, response: text, workflow: chat").first)
        #expect(bare.workflow?.base == "" && bare.workflow?.id == "chat" && bare.response == .format(.text))
        #expect(try parse("path: /run, request: run, response: auto")[0].workflow == nil)
    }

    @Test func allKeys() throws {
        let route = try parse(
            runs
                + ", workflow: {id: a.b, title: T, description: D, default: true, input: [x, y], output: m, stream: no}"
                + ", resume: {buffer: 64KiB}")[0]
        let workflow = try #require(route.workflow)
        #expect((workflow.id, workflow.title, workflow.summary, workflow.output) == ("a.b", "T", "D", "m"))
        #expect(workflow.input == ["x", "y"] && !workflow.streams && workflow.isDefault)
        #expect(route.tasks.bufferBytes == 64 << 10 && route.tasks.ttl == .seconds(3600))
    }

    @Test func oneOfThemIsTheDefault() throws {
        let first = try parse(
            runs + ", workflow: a", runs + ", workflow: b", "path: /workflows/runs, request: run, response: auto")
        #expect(first.map { $0.workflow?.isDefault } == [true, false, true])
        let marked = try parse(runs + ", workflow: a", runs + ", workflow: {id: b, default: true}")
        #expect(marked.map { $0.workflow?.isDefault } == [false, true])
        #expect(
            faults(runs + ", workflow: {id: a, default: true}", runs + ", workflow: {id: b, default: true}") == [
                "routes[1].workflow.default: another workflow at this path is the default one already"
            ])
        #expect(
            faults(runs + ", workflow: a", runs + ", workflow: a") == [
                "routes[1]: is never reached: routes[0] matches the same requests"
            ])
    }

    @Test func whereItMakesNoSense() {
        #expect(
            faults("path: /run, request: run, response: auto, workflow: a") == [
                "routes[0].workflow: needs a path that ends in /workflows/runs: tasks are asked for beside it"
            ])
        #expect(
            faults("path: /workflows/runs, request: prompt, response: auto, workflow: a") == [
                "routes[0].workflow: is for routes with request: run"
            ])
        #expect(
            faults("path: /workflows/runs, request: run, response: ndjson, workflow: a") == [
                "routes[0].response: a workflow streams as auto, sse-text, sse-json or text, not as ndjson"
            ])
        #expect(faults(runs + ", workflow: {title: T}") == ["routes[0].workflow.id: is required"])
        for id in ["a/b", "a b", "__default__", "runs"] {
            #expect(
                faults(runs + ", workflow: '\(id)'") == [
                    "routes[0].workflow: '\(id)' is no id: 1 to 128 visible ASCII characters that a path may hold"
                ])
        }
    }
}
