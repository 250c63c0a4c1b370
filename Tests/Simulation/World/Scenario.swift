/// Worlds made for one fault each that was found in the proxy: what must not come back. The seed still decides how bytes are
/// cut and when they arrive.
public enum Scenario: String, CaseIterable, Sendable {
    /// Routes and pools are replaced while an answer comes that breaks off: its connection's pool is then held by nobody else.
    case reloadBehindABrokenAnswer
    /// The upstream has said all and closed, and the client reads so slowly that the proxy had paused by then.
    case slowClientOfAnUpstreamThatCloses
    /// The answer is all there, its client takes long for it, and the server is to stop.
    case drainBehindASlowClient
    /// HTTP/1.0: the end of the connection is the end of the answer, and comes late.
    case slowClientOfALongAnswer
    /// A body that is relayed pauses its client, who has more to ask on the same connection.
    case requestsBehindARelayedBody

    func adjust(_ setting: inout Setting) {
        (setting.isCalm, setting.spread, setting.faults, setting.connectFaults) = (true, 0, KernelFaults(), 0)
        (setting.upstreamFaults, setting.clientFaults) = (0, 0)
        (setting.clientCount, setting.requestsEach) = (1, 1)
        (setting.drainsAfter, setting.reloadsAfter) = (nil, nil)
        (setting.protocols, setting.readLimit, setting.highBytes) = (.keeping, 16 << 10, 16 << 10)
        setting.capacity = 64 << 10
        switch self {
        case .reloadBehindABrokenAnswer: setting.reloadsAfter = milliseconds(300)
        case .slowClientOfAnUpstreamThatCloses: break
        case .drainBehindASlowClient:
            (setting.drainsAfter, setting.capacity, setting.highBytes) = (seconds(2), 4 << 10, 64 << 10)
        case .slowClientOfALongAnswer: setting.protocols = .old
        case .requestsBehindARelayedBody:
            (setting.requestsEach, setting.highBytes, setting.clientCount) = (6, 4 << 10, 6)
        }
    }

    func shape(_ plan: Plan, _ random: inout SeededRandom) {
        plan.dialect = .openAI
        plan.format = random.pick([.text, .sseText, .ndjson, .openAI])
        plan.path = "/openai/\(plan.format.rawValue)"
        (plan.wantsStream, plan.thinking, plan.padding, plan.bodyPause) = (true, 0, 0, 0)
        plan.answer = AnswerPlan()
        switch self {
        case .reloadBehindABrokenAnswer:
            plan.answer.headDelay = milliseconds(600)
            plan.tokens = Self.tokens(40, padding: 0)
            plan.answer.fault = random.pick([.html, .garbage(at: 0.9)])
            plan.excuses = ["upstream fault"]
        case .slowClientOfAnUpstreamThatCloses:
            plan.answer.framing = random.pick([.untilClose, .chunked])
            plan.answer.closesAfter = true
            slowDown(plan, bytes: 1_000)
        case .drainBehindASlowClient:
            (plan.format, plan.path) = (.sseText, "/openai/sse-text")
            slowDown(plan, bytes: 1_000)
            plan.tokens = Self.tokens(400, padding: 80)
            plan.pace.interval = milliseconds(100)
        case .slowClientOfALongAnswer: slowDown(plan, bytes: 300)
        case .requestsBehindARelayedBody:
            (plan.format, plan.path) = (.passthrough, "/openai/passthrough")
            plan.padding = random.within(4_000...12_000)
            plan.tokens = Self.tokens(5, padding: 0)
        }
    }

    private func slowDown(_ plan: Plan, bytes: Int) {
        plan.tokens = Self.tokens(900, padding: 100)
        plan.answer.burst = 40
        plan.pace = ReadPace(bytes: bytes, interval: milliseconds(25))
    }

    private static func tokens(_ count: Int, padding: Int) -> [[UInt8]] {
        let padding = String(repeating: "f", count: padding)
        return (0..<count).map { Array("\($0)\(padding) ".utf8) }
    }
}
