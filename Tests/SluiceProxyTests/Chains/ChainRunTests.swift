import SluiceBytes
import SluiceConfig
import SluiceStreams
import Testing

@testable import SluiceProxy

@Suite struct ChainRunTests {
    private func plan(_ steps: String) throws -> ChainPlan {
        let text = """
            listeners: [{address: ':0'}]
            upstreams: {one: {dialect: openai-chat, url: 'http://h'}}
            routes: [{path: /x, request: openai-chat, response: text, keepalive: 7s, steps: \(steps)}]
            """
        let configuration = try ConfigurationLoader.parse(text: Array(text.utf8), file: "f", environment: [:])
        return try #require(RouteEntry(configuration.routes[0]).chain)
    }

    private func run(_ steps: String, _ body: String, limit: Int = 10_000) throws -> ChainRun {
        let plan = try plan(steps)
        let client = try RequestTranslator.read(
            Array(body.utf8), from: .openAIChat, RequestHints(), items: [], needsConversation: plan.needsConversation)
        return ChainRun(
            plan, client, .init(format: .text, model: "client's"), bodyBytes: body.utf8.count, requestLimit: limit)
    }

    private let hello = #"{"messages": [{"role": "user", "content": "hello"}], "temperature": 1, "kind": "x"}"#

    /// What a step asks, and whether it answers.
    private func told(_ next: ChainRun.Next?) -> String {
        func words(_ step: ChainPlan.Step, _ request: ChainRun.StepRequest) -> String {
            let texts = request.chat?.messages.flatMap(\.parts).compactMap { part -> String? in
                if case .text(let text) = part { text.text } else { nil }
            }
            let said = texts?.joined(separator: "|") ?? "(the client's)"
            return "\(step.spec.name): \(request.system ?? "") \(said) \(request.chat?.temperature ?? "-")"
        }
        switch next {
        case .collect(let step, let request): return words(step, request)
        case .answer(let step, let entry, let request):
            return words(step, request) + " answers \(request.expectation.format) \(entry.spec.keepalive.milliseconds)"
        case nil: return "none"
        }
    }

    @Test func stepsFollowOneAnother() throws {
        let run = try run(
            "[{name: a, upstream: one, system: 's ${input.kind}'}, {name: b, upstream: one, prompt: 'x ${steps.a.output}'}, "
                + "{name: c, upstream: one, system: '${steps.a.output} ${steps.b.output} ${steps.b.finish_reason}'}]",
            hello)
        #expect(run.lack == nil)
        #expect(told(try run.next()) == "a: s x hello -")
        run.take(Array("A".utf8), finish: .stop)
        // Settings of the client's are for who answers it.
        #expect(told(try run.next()) == "b:  x A -")
        run.take(Array("B".utf8), finish: .length)
        #expect(told(try run.next()) == "c: A B length (the client's) - answers text 7000")
        #expect(told(try run.next()) == "none")
    }

    @Test func stepsAreLeftOutOrEndIt() throws {
        let steps = """
            [{name: kind, upstream: one, prompt: 'k'},
             {name: code, upstream: one, when: {steps.kind.output: '*code*'}, answers: true, prompt: 'c'},
             {name: check, upstream: one, when: {steps.kind.output: 'm*', input.kind: x}, prompt: 'w'},
             {name: other, upstream: one, when: {input.absent: '*'}, prompt: 'w'},
             {name: chat, upstream: one, prompt: '${steps.check.output:-unchecked}${steps.code.output}'}]
            """
        for (kind, expected) in [
            ("it is code", ["code:  c 1 answers text 7000"]), ("else", ["chat:  unchecked 1 answers text 7000"]),
            ("maths", ["check:  w -", "chat:  W 1 answers text 7000"]),
        ] {
            let run = try run(steps, hello)
            _ = try run.next()
            run.take(Array(kind.utf8), finish: nil)
            for line in expected {
                #expect(told(try run.next()) == line)
                run.take([0x57], finish: nil)
            }
        }
    }

    @Test func whatIsMissingIsTold() throws {
        let lacking = "[{name: a, upstream: one, prompt: x}, {name: b, upstream: one, prompt: '${input.topic}'}]"
        let lack = try run(lacking, hello).lack
        #expect(lack?.status == 400 && lack?.message == "input.topic is missing, which step 'b' needs")
        // A step that may be left out needs nothing before it is its turn.
        let maybe = """
            [{name: a, upstream: one, when: {input.kind: '*'}, prompt: '${input.topic}'}, {name: b, upstream: one, prompt: x}]
            """
        let run = try run(maybe, hello)
        #expect(run.lack == nil)
        #expect(throws: ProxyError(.badRequest, .client, "input.topic is missing, which step 'a' needs")) {
            try run.next()
        }
        let json = try self.run(
            "[{name: a, upstream: one, prompt: x}, {name: b, upstream: one, prompt: '${steps.a.output.t}'}]", hello)
        _ = try json.next()
        json.take(Array("no json".utf8), finish: .stop)
        let error = #expect(throws: ProxyError.self) { try json.next() }
        #expect(error?.status == 502 && error?.message.contains("steps.a.output.t") == true)
    }

    @Test func whatIsAskedHasALimit() throws {
        let steps = "[{name: a, upstream: one, system: '12345', prompt: '${input.kind}${input.kind}1234'}]"
        let run = try run(steps, hello, limit: 10)
        let error = #expect(throws: ProxyError.self) { try run.next() }
        #expect(error?.status == 413 && error?.reason == "limit_request_body_bytes")
        #expect(throws: Never.self) { try self.run(steps, hello, limit: 11).next() }
    }

    @Test func whatItHoldsIsCounted() throws {
        var run: ChainRun? = try run("[{name: a, upstream: one, prompt: x}, {name: b, upstream: one}]", hello)
        _ = try run?.next()
        let before = run?.bufferedBytes ?? 0
        run?.take(Array(repeating: 0x78, count: 5000), finish: .stop)
        #expect(before == hello.utf8.count && run?.bufferedBytes == before + 5000)
        run = nil
    }

    @Test func whatStepsCostAddsUp() {
        #expect(ChainRun.sum(.counted(3), .counted(4)) == .counted(7))
        #expect(ChainRun.sum(.counted(3), .estimated(output: 4)) == .estimated(output: 7))
        #expect(ChainRun.sum(.estimated(output: 3), .estimated(output: 4)) == .estimated(output: 7))
    }

    @Test func anInnerStepHasNothingOfWhatTheRouteDoesForItsClient() throws {
        let plan = try plan("[{name: a, upstream: one, model: m}, {name: b, upstream: one}]")
        let inner = plan.steps[0].inner.spec
        #expect(inner.model == "m" && inner.resume == nil && inner.earlyHeaders == nil && inner.steps.isEmpty)
        #expect(plan.steps[0].last == nil && plan.steps[1].last?.chain == nil && plan.steps[1].last?.spec.model == nil)
    }

    @Test func timeBetweenSteps() {
        let start = Instant(nanoseconds: 1_000_000_000_000)
        var deadlines = ExchangeDeadlines(started: start, limits: Limits())
        deadlines.choose(Timeouts(), keepalive: .seconds(15), earlyHeaders: .seconds(3))
        deadlines.requestComplete(at: start)
        deadlines.enter(.chaining, at: start)
        // Steps have their own deadlines; only the client is waited upon here.
        #expect(deadlines.next(.init()).at == .distantFuture)
        #expect(deadlines.next(.init(canCommitEarly: true)) == (start + .seconds(3), .earlyHeaders))
        #expect(deadlines.next(.init(isCommitted: true, isStream: true)) == (start + .seconds(15), .keepalive))
        var timeouts = Timeouts()
        timeouts.total = .seconds(60)
        deadlines.choose(timeouts, keepalive: .zero, earlyHeaders: nil)
        deadlines.beginLastStep(at: start + .seconds(100))
        deadlines.enter(.body, at: start + .seconds(150))
        #expect(deadlines.next(.init(isUpstreamPaused: true)) == (start + .seconds(160), .upstream(.total)))
    }
}
