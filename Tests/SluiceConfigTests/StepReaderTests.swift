import SluiceBytes
import SluiceConfig
import SluiceStreams
import Testing

@Suite struct StepReaderTests {
    private func text(_ steps: String, request: String = "prompt", more: String = "") -> String {
        """
        listeners: [{address: ':0'}]
        upstreams:
          one: {dialect: openai-chat, url: 'http://h'}
          two: {dialect: anthropic-messages, url: 'http://h'}
          bytes: {dialect: raw, url: 'http://h'}
        routes:
          - path: /x
            request: \(request)
            response: \(request == "passthrough" ? request : "text")
            \(more)
            steps: \(steps)
        """
    }

    private func parse(_ text: String, _ environment: [String: String] = [:]) throws(ConfigurationFaults)
        -> Configuration
    {
        try ConfigurationLoader.parse(text: Array(text.utf8), file: "f", environment: environment)
    }

    private func faults(_ steps: String, request: String = "prompt", more: String = "") -> [String] {
        do throws(ConfigurationFaults) {
            _ = try parse(text(steps, request: request, more: more))
            return []
        } catch {
            return error.issues.map { "\($0.path): \($0.message)" }
        }
    }

    @Test func readsAllOfIt() throws {
        let steps = """
            [{name: a-1, upstream: [one, {name: two, model: m}], system: 'S ${input.lang:-en}', prompt: '${WHO} ${input}',
              overrides: {max_tokens: 5}},
             {name: b, upstream: two, model: c, when: {steps.a-1.output: '*x*', 'input.list[0]': y}, answers: true},
             {name: c, upstream: one, upstream_path: /p, drop_unsupported: true, defaults: {n: 1},
              messages: [{role: system, content: s}, {role: user, content: '${steps.b.output:-none}'}]}]
            """
        let route = try parse(text(steps), ["WHO": "${input.x}"]).routes[0]
        #expect(route.steps.map(\.name) == ["a-1", "b", "c"])
        #expect(route.steps[0].upstreams == [.init(upstream: 0), .init(upstream: 1, model: "m")])
        #expect(route.steps[0].overrides == #"{"max_tokens":5}"# && route.steps[0].messages.map(\.role) == [.user])
        // What the environment has is text.
        #expect(route.steps[0].messages[0].content.references.map(\.subject) == [.input([])])
        #expect(route.steps[1].messages.isEmpty && route.steps[1].answers)
        #expect(route.steps[1].conditions.map(\.subject) == [.output(step: "a-1", []), .input(["list", "0"])])
        #expect(route.steps[2].messages.map(\.role) == [.system, .user])
        // For all that looks at routes, the last step is what the route asks.
        #expect(route.upstreams == [.init(upstream: 0)] && route.upstreamPath == "/p" && route.dropsUnsupported)
        #expect(route.model == nil && route.defaults == #"{"n":1}"#)
    }

    @Test func aChainSendsItsHeadEarlyUnlessToldOtherwise() throws {
        let steps = "[{name: a, upstream: one}]"
        #expect(try parse(text(steps)).routes[0].earlyHeaders == .seconds(15))
        #expect(try parse(text(steps, more: "early_headers: never")).routes[0].earlyHeaders == nil)
        #expect(try parse(text(steps, more: "early_headers: 2s")).routes[0].earlyHeaders == .seconds(2))
        #expect(try parse(text(steps)).limits.stepOutputBytes == 1 << 20)
        #expect(try parse(text(steps) + "\nlimits: {step_output_bytes: 8KiB}").limits.stepOutputBytes == 8192)
    }

    @Test func namesAreCheckedWithTheNearest() {
        #expect(
            faults("[{name: outline, upstream: one}, {name: b, upstream: one, prompt: '${steps.outlin.output}'}]") == [
                "routes[0].steps[1].prompt: 'steps.outlin.output': no step before this one is named 'outlin' "
                    + "(did you mean 'outline'?)"
            ])
        #expect(
            faults("[{name: a, upstream: one, system: '${steps.b.output}'}, {name: b, upstream: one}]") == [
                "routes[0].steps[0].system: 'steps.b.output': only steps that stand before this one have an output here"
            ])
        #expect(
            faults("[{name: a, upstream: one, messages: [{role: user, content: '${steps.a.output}'}]}]") == [
                "routes[0].steps[0].messages[0].content: 'steps.a.output': only steps that stand before this one have "
                    + "an output here"
            ])
        #expect(
            faults(
                "[{name: a, upstream: one}, {name: b, upstream: one, when: {steps.x.output: y}}, {name: c, upstream: one}]"
            )
                == [
                    "routes[0].steps[1].when.steps.x.output: 'steps.x.output': no step before this one is named 'x' "
                        + "(did you mean 'a'?)"
                ])
        #expect(
            faults("[{name: a, upstream: one, prompt: '${steps.a.text}'}]") == [
                "routes[0].steps[0].prompt: 'steps.a.text' is none of input.PATH, steps.NAME.output, "
                    + "steps.NAME.output.PATH or steps.NAME.finish_reason"
            ])
        #expect(
            faults("[{name: a, upstream: three, promt: x}]") == [
                "routes[0].steps[0].upstream: no upstream is named 'three' (known: one, two, bytes)",
                "routes[0].steps[0].promt: unknown key (did you mean 'prompt'?)",
            ])
        #expect(faults("[{name: a, upstream: one, prompt: '${NOT_THERE}'}]").count == 1)
    }

    @Test func whatMakesNoSense() {
        #expect(faults("[]") == ["routes[0].steps: must have at least one step"])
        #expect(faults("x") == ["routes[0].steps: must be a list, not a single value"])
        #expect(faults("[{upstream: one}]") == ["routes[0].steps[0].name: is required"])
        #expect(faults("[{name: a}]") == ["routes[0].steps[0].upstream: is required"])
        #expect(
            faults("[{name: 'a b', upstream: one}]") == [
                "routes[0].steps[0].name: 'a b' is no name: 1 to 64 letters, digits, - and _"
            ])
        #expect(
            faults("[{name: a, upstream: one}, {name: a, upstream: one}]") == [
                "routes[0].steps[1].name: a step before this one is named 'a' too"
            ])
        #expect(
            faults("[{name: a, upstream: one, prompt: x, messages: [{role: user, content: x}]}]") == [
                "routes[0].steps[0].messages: give prompt or messages, not both"
            ])
        #expect(
            faults("[{name: a, upstream: one, messages: [{role: system, content: x}]}]") == [
                "routes[0].steps[0].messages: needs a message of the user's"
            ])
        #expect(
            faults("[{name: a, upstream: one, messages: [{role: robot}]}]") == [
                "routes[0].steps[0].messages[0].content: is required",
                "routes[0].steps[0].messages[0].role: 'robot' is not one of system, user, assistant",
            ])
        #expect(
            faults("[{name: a, upstream: one, when: {input.x: y}}]") == [
                "routes[0].steps[0].when: the last step always runs, since somebody has to answer"
            ])
        #expect(
            faults("[{name: a, upstream: one, answers: true}, {name: b, upstream: one}]") == [
                "routes[0].steps[0].answers: needs 'when': without it no step behind this one ever runs"
            ])
        #expect(
            faults("[{name: a, upstream: one, when: {body.x: y}}, {name: b, upstream: one}]") == [
                "routes[0].steps[0].when.body.x: must begin with input or steps and name something"
            ])
        #expect(
            faults("[{name: a, upstream: bytes}]") == [
                "routes[0].steps[0].upstream: 'bytes' has the dialect raw, which only passthrough can use"
            ])
        #expect(
            faults("[{name: a, upstream: one}]", request: "passthrough") == [
                "routes[0].steps: a passthrough request is not changed, and has no steps"
            ])
        let many = (0..<17).map { "{name: s\($0), upstream: one}" }.joined(separator: ", ")
        #expect(faults("[\(many)]") == ["routes[0].steps: must not be more than 16"])
    }

    @Test(arguments: ["upstream: one", "model: m", "system: s", "defaults: {}", "overrides: {}", "upstream_path: /p"])
    func theRouteItselfAsksNobody(key: String) {
        let name = key.prefix { $0 != ":" }
        #expect(
            faults("[{name: a, upstream: one}]", more: key) == [
                "routes[0].\(name): a route with steps has this in each of them; take it out here"
            ])
    }

    @Test func anOrdinaryRouteHasItsVariablesAsEver() throws {
        let plain = """
            listeners: [{address: ':0'}]
            upstreams: {one: {dialect: openai-chat, url: 'http://h'}}
            routes: [{path: /x, request: prompt, response: text, upstream: one, system: '${input}'}]
            """
        #expect(try parse(plain, ["input": "of the environment"]).routes[0].system == "of the environment")
        #expect(throws: ConfigurationFaults.self) { try parse(plain) }
    }
}
