import SluiceBytes
import SluiceConfig
import SluiceIO
import SluiceProxy
import Synchronization

/// What a client speaks.
enum ClientProtocol: CaseIterable {
    /// HTTP/1.1 that keeps its connection, or asks for its end.
    case keeping
    case closing
    /// HTTP/1.0, where the end of the connection is the end of the answer.
    case old
    case http2
}

/// What kind of world a seed makes: how large, how rough, with which limits.
///
/// A quarter of the worlds are calm: however strangely the bytes are cut and however slowly they are read, nothing fails in
/// them, so every request must succeed.
struct Setting {
    static let listener = SocketAddress.ip(.v4(0x0A00_0001), port: 80)
    static let upstreams: [(name: String, address: SocketAddress, dialect: UpstreamDialect, isHTTP2: Bool)] = [
        ("openai", .ip(.v4(0x0A01_0001), port: 80), .openAI, false),
        ("anthropic", .ip(.v4(0x0A01_0002), port: 80), .anthropic, false),
        ("ollama", .ip(.v4(0x0A01_0003), port: 80), .ollama, false),
        ("openai2", .ip(.v4(0x0A01_0004), port: 80), .openAI, true),
        ("anthropic2", .ip(.v4(0x0A01_0005), port: 80), .anthropic, true),
    ]
    /// For so long a client that will never read again stays.
    static let patience = seconds(60)
    /// A route's upstream is followed by another, for when the first fails before its first token.
    static let failsOver = false
    static let drainTimeout = seconds(30)
    static let silent: LogSpec = {
        var spec = LogSpec()
        (spec.level, spec.access) = (.error, false)
        return spec
    }()

    var isCalm: Bool
    var clientCount: Int
    var requestsEach: Int
    /// Clients come within so many nanoseconds.
    var spread: Int
    var faults: KernelFaults
    var connectFaults: Double
    /// In percent of the answers.
    var upstreamFaults: Double
    var clientFaults: Double
    private let faultKinds: [Int]
    var isLarge: Bool
    private let tinyReads: Bool
    var highBytes: Int
    private let keepalive: Int
    private let smooth: String
    var readLimit: Int
    var drainsAfter: Int?
    var reloadsAfter: Int?
    /// What all clients speak; nil: each what it likes.
    var protocols: ClientProtocol?
    /// Of all connections; nil: each its own.
    var capacity: Int?

    init(_ random: inout SeededRandom) {
        isCalm = random.chance(25)
        isLarge = random.chance(8)
        clientCount = random.skewed(1...(isLarge ? 3 : 7))
        requestsEach = isLarge ? 2 : random.skewed(1...6)
        spread = random.pick([0, milliseconds(5), milliseconds(500), seconds(5)])
        tinyReads = !isLarge && random.chance(15)
        highBytes = random.pick([4 << 10, 16 << 10, 64 << 10])
        keepalive = random.pick([0, 1, 15])
        readLimit = tinyReads ? random.within(1...200) : random.pick([1 << 10, 16 << 10, 64 << 10])
        var faults = KernelFaults()
        if random.chance(50) { faults.interrupts = 2 }
        if random.chance(40) { faults.spurious = 2 }
        var connectFaults = 0.0
        if !isCalm {
            if random.chance(30) { faults.acceptErrors = 10 }
            if random.chance(15) { faults.socketErrors = 10 }
            if random.chance(20) { faults.stalls = 0.5 }
            if random.chance(40) { connectFaults = random.pick([3, 10, 40]) }
        }
        (self.faults, self.connectFaults) = (faults, connectFaults)
        upstreamFaults = isCalm ? 0 : random.pick([0, 10, 30, 70])
        clientFaults = isCalm ? 0 : random.pick([0, 10, 40])
        // A few kinds in one world, so that each is seen often and alone.
        faultKinds = (0..<random.within(1...4)).map { _ in random.below(11) }
        drainsAfter = !isCalm && random.chance(15) ? random.skewed(milliseconds(1)...seconds(20)) : nil
        reloadsAfter = random.chance(25) ? random.skewed(milliseconds(1)...seconds(10)) : nil
        smooth = random.pick(["off", "off", "word", "{interval: 5ms}", "{interval: 20ms}", "{interval: 700ms}"])
    }

    /// What may wait for one client's connection: each stream's mark, what one read became, and what was held for an effect.
    var bufferBound: Int {
        let held = smooth == "off" ? 0 : 2 * highBytes
        return requestsEach * (highBytes + held + 4 * min(64 << 10, readLimit)) + (96 << 10)
    }

    func weather(_ random: inout SeededRandom) -> Weather {
        var weather = Weather()
        weather.latency = random.pick([
            microseconds(20)...microseconds(60), microseconds(100)...milliseconds(2),
            milliseconds(5)...milliseconds(60),
        ])
        weather.capacity = random.pick([2 << 10, 16 << 10, 64 << 10, 256 << 10])
        if let capacity { weather.capacity = capacity }
        weather.shortWrites = random.pick([0, 10, 60])
        weather.shortReads = random.pick([0, 10, 60])
        weather.pieces = random.pick([1, 2, 5])
        weather.readLimit = readLimit
        return weather
    }

    func pace(_ random: inout SeededRandom) -> ReadPace {
        var pace = ReadPace()
        if isLarge || random.chance(25) {
            pace.bytes = random.pick([200, 4 << 10, 32 << 10])
            pace.interval = random.skewed(microseconds(10)...milliseconds(isLarge ? 5 : 40))
        }
        return pace
    }

    func fill(_ plan: Plan, _ random: inout SeededRandom, pace: ReadPace, isHTTP2: Bool) {
        let upstream = random.pick(Self.upstreams)
        plan.dialect = upstream.dialect
        plan.format = random.pick(ClientFormat.allCases)
        plan.path = "/\(upstream.name)/\(plan.format.rawValue)"
        plan.wantsStream = !((plan.format == .openAI || plan.format == .passthrough) && random.chance(20))
        plan.tokens = tokens(plan.id, &random)
        plan.thinking = random.skewed(0...seconds(2))
        plan.pace = pace
        if random.chance(20) { plan.padding = random.skewed(0...(isLarge ? 300_000 : 20_000)) }
        if random.chance(30) {
            plan.bodyPiece = random.pick([1 << 10, 7_000])
            plan.bodyPause = random.skewed(0...milliseconds(20))
        }
        answer(plan, &random, isHTTP2: upstream.isHTTP2)
        if random.chance(clientFaults) { disturb(plan, &random) }
    }

    /// Counted, so that what is lost, doubled or mixed up shows.
    private func tokens(_ id: Int, _ random: inout SeededRandom) -> [[UInt8]] {
        let count = isLarge ? random.within(200...2_000) : random.skewed(1...60)
        let spices = ["", "", "", "\n", "\"", "\\", "é", "日本", "😀", "data: ", "\n\n", "{", "[DONE]"]
        let length = isLarge ? random.within(0...120) : 0
        let filling = String(repeating: "f", count: length)
        return (0..<count).map { Array("\(id):\($0)\(random.pick(spices))\(filling) ".utf8) }
    }

    private func answer(_ plan: Plan, _ random: inout SeededRandom, isHTTP2: Bool) {
        var answer = AnswerPlan()
        answer.headDelay = random.skewed(0...seconds(2))
        answer.tokenDelay =
            0...(isLarge
            ? random.below(200_000) : random.pick([0, milliseconds(1), milliseconds(60), milliseconds(900)]))
        answer.burst = random.pick([1, 3, 40])
        if !isHTTP2 {
            answer.framing = random.pick([.chunked, .chunked, .fixed, plan.wantsStream ? .untilClose : .chunked])
            answer.closesAfter = random.chance(20)
        }
        if random.chance(upstreamFaults) { answer.fault = fault(&random, isHTTP2: isHTTP2) }
        if let fault = answer.fault, !fault.isHarmless { plan.excuses.insert("upstream fault") }
        // Only a stream has an end of its own.
        if case .neverEnds? = answer.fault, !plan.wantsStream { plan.excuses.insert("upstream fault") }
        plan.answer = answer
    }

    private func fault(_ random: inout SeededRandom, isHTTP2: Bool) -> UpstreamFault? {
        let at = random.pick([0, 0.02, 0.5, 0.9, 0.999, Double(random.below(1_000)) / 1_000])
        switch random.pick(faultKinds) {
        case 0: return .close(at: at)
        case 1: return .reset(at: at)
        case 2: return .stall(at: at)
        case 3: return .garbage(at: at)
        case 4: return .endEarly(at: at)
        case 5: return .errorEvent(at: at)
        case 6: return .status(random.pick([400, 401, 404, 429, 500, 502, 503, 529]))
        case 7: return .html
        case 8: return .neverEnds
        case 9: return isHTTP2 ? .refuse : .close(at: 0)
        default: return isHTTP2 ? .goAway : .reset(at: 0)
        }
    }

    private func disturb(_ plan: Plan, _ random: inout SeededRandom) {
        plan.leavesByReset = random.chance(50)
        switch random.below(4) {
        case 0: plan.leave = .after(random.skewed(0...seconds(4)))
        case 1: plan.leave = .atByte(random.skewed(1...20_000))
        case 2:
            plan.pace.stopAfter = random.skewed(1...(isLarge ? 100_000 : 3_000))
            plan.pace.stopFor = random.chance(50) ? random.skewed(milliseconds(1)...seconds(60)) : nil
        default:
            plan.bodyPiece = random.within(20...200)
            plan.bodyPause = random.skewed(milliseconds(1)...seconds(60))
            plan.padding = min(plan.padding, 2_000)
        }
        plan.excuses.insert("client fault")
    }

    // MARK: - Configuration

    private static func route(_ upstream: String) -> String {
        let others = upstreams.map(\.name).filter { $0 != upstream }
        return failsOver ? "[\(upstream), \(others[0])]" : upstream
    }

    private static let snapshots = Mutex<[String: ServerSnapshot]>([:])

    /// Worlds with the same limits share what is read and built once.
    func snapshot() throws -> ServerSnapshot {
        let key = "\(highBytes) \(keepalive) \(smooth)"
        if let known = Self.snapshots.withLock({ $0[key] }) { return known }
        let made = try ServerSnapshot(configuration(), environment: [:])
        Self.snapshots.withLock { $0[key] = made }
        return made
    }

    private func configuration() throws -> Configuration {
        var text = """
            listeners: [{address: "10.0.0.1:80"}]
            workers: 1
            drain_timeout: 30s
            log: {level: error, access: false}
            compress: gzip
            limits:
              stream_buffer_high_bytes: \(highBytes)
              stream_buffer_low_bytes: \(highBytes / 4)
              client_idle_timeout: 20s
              upstream_idle_timeout: 15s
              request_body_timeout: 20s
              slow_client: 20s
            upstreams:

            """
        for upstream in Self.upstreams {
            text += """
                  \(upstream.name):
                    url: "http://\(upstream.address)"
                    dialect: \(upstream.dialect.rawValue)
                    http: \(upstream.isHTTP2 ? "2" : "1.1")
                    timeouts: {connect: 5s, headers: 20s, first_token: 20s, idle: 20s}

                """
        }
        text += "routes:\n"
        for upstream in Self.upstreams {
            for format in ClientFormat.allCases {
                let isRelay = format == .passthrough
                text += """
                      - path: /\(upstream.name)/\(format.rawValue)
                        request: \(isRelay ? "passthrough" : "openai-chat")
                        response: \(format.rawValue)
                        upstream: \(Self.route(upstream.name))
                        keepalive: \(keepalive)s
                        smooth: \(isRelay ? "off" : smooth)

                    """
            }
        }
        return try ConfigurationLoader.parse(text: Array(text.utf8), file: "world.yaml", environment: [:])
    }
}
