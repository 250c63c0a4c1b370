import Glibc
import SluiceBytes
import SluiceConfig
import SluiceIO
import SluiceStreams
import Synchronization

/// One line for each thing worth telling, JSON or text, on standard output.
///
/// Workers only append to a bounded queue; a thread of its own writes, so that a blocked pipe never blocks a loop. What
/// does not fit is dropped and counted.
public final class LogWriter: Sendable {
    private struct Pending {
        var bytes: [UInt8] = []
        var dropped = 0
    }
    private let settings: Mutex<LogSpec>
    private var spec: LogSpec { settings.withLock { $0 } }
    /// The least that is written; that of the configuration until somebody changes it.
    private let leastRank: Atomic<Int>
    private let droppedLines = Atomic<Int>(0)
    private let pending = Mutex(Pending())
    private let wakeup: Wakeup
    private static let limitBytes = 4 << 20

    /// - Throws: if the thread or its descriptor cannot be made.
    public init(_ spec: LogSpec) throws(SystemError) {
        settings = Mutex(spec)
        leastRank = Atomic(Self.rank(spec.level))
        wakeup = try Wakeup()
        try startThread(named: "log") { [self] in
            while true {
                wakeup.wait()
                flush()
            }
        }
    }

    /// Lines from now on go by `spec`.
    func change(to spec: LogSpec) {
        settings.withLock { $0 = spec }
        leastRank.store(Self.rank(spec.level), ordering: .relaxed)
    }

    /// May be changed while the process runs, and stays until the configuration is read again.
    public var level: LogSpec.Level {
        get {
            let rank = leastRank.load(ordering: .relaxed)
            return LogSpec.Level.allCases.first { Self.rank($0) == rank } ?? .info
        }
        set { leastRank.store(Self.rank(newValue), ordering: .relaxed) }
    }

    func isWritten(_ level: LogSpec.Level) -> Bool { Self.rank(level) >= leastRank.load(ordering: .relaxed) }

    /// Lines that found no room, since the start.
    var dropped: Int { droppedLines.load(ordering: .relaxed) }

    /// Writes what waits; also called before the process exits.
    public func flush() {
        let taken = pending.withLock { waiting in
            let taken = waiting
            waiting = Pending()
            return taken
        }
        var rest = taken.bytes[...]
        if taken.dropped > 0 {
            rest += Array("{\"level\":\"warning\",\"event\":\"log_dropped\",\"lines\":\(taken.dropped)}\n".utf8)
        }
        while !rest.isEmpty {
            let written = rest.withUnsafeBytes { Glibc.write(1, $0.baseAddress, $0.count) }
            if written < 0 && errno == EINTR { continue }
            guard written > 0 else { return }
            rest = rest.dropFirst(written)
        }
    }

    /// One event with its fields. Values are plain text; a `Secret` shows as `***`.
    public func write(_ level: LogSpec.Level, _ event: String, _ fields: KeyValuePairs<String, String> = [:]) {
        guard isWritten(level) else { return }
        let spec = spec
        var line = Line(spec.format)
        line.add("time", Self.timestamp())
        line.add("level", level.rawValue)
        line.add("event", event)
        for (name, value) in fields { line.add(name, value) }
        post(&line)
    }

    /// The same where the fields depend on what happened.
    func write(_ level: LogSpec.Level, _ event: String, fields: [(String, String)]) {
        guard isWritten(level) else { return }
        var line = Line(spec.format)
        line.add("time", Self.timestamp())
        line.add("level", level.rawValue)
        line.add("event", event)
        for (name, value) in fields { line.add(name, value) }
        post(&line)
    }

    func access(_ record: ExchangeRecord) {
        var line = Line(spec.format)
        line.add("time", Self.timestamp())
        line.add("level", "info")
        line.add("event", "exchange")
        line.add("request_id", record.requestID)
        line.add("client", record.client)
        line.add("protocol", record.protocolText)
        if !record.identity.isEmpty { line.add("key", record.identity) }
        line.add("route", record.route)
        line.add("method", record.method)
        line.add("path", record.path)
        line.add("status", record.status)
        line.add("end", record.reason)
        line.add("upstream", record.upstream)
        if !record.place.isEmpty { line.add("place", record.place) }
        line.add("format", record.format.rawValue)
        if !record.model.isEmpty { line.add("model", String(record.model.prefix(128))) }
        line.add("duration_ms", Int(clamping: record.duration.milliseconds))
        if let first = record.timeToFirstToken { line.add("first_token_ms", Int(clamping: first.milliseconds)) }
        if let latency = record.cancelLatency { line.add("cancel_ms", milliseconds: latency) }
        if record.isStream, record.tokenCount > 1 { line.add("largest_gap_ms", milliseconds: record.largestGap) }
        if let rate = record.tokensPerSecond { line.add("tokens_per_second", tenths: rate) }
        line.add("events", record.eventCount)
        line.add("bytes_sent", record.sentBytes)
        if !record.coding.isEmpty {
            line.add("compressed", record.coding)
            line.add("bytes_plain", record.plainBytes)
        }
        if !record.steps.isEmpty { line.add("steps", record.steps) }
        let tokens = record.allTokens
        if let input = tokens.input { line.add("input_tokens", input) }
        if let output = tokens.output { line.add("output_tokens", output) }
        if !record.generation.isEmpty { line.add("generation", record.generation) }
        if !record.task.isEmpty { line.add("task", record.task) }
        if !record.resumed.isEmpty { line.add("resumed", record.resumed) }
        if record.retries > 0 { line.add("retries", record.retries) }
        if let attempts = record.attempts { line.add("attempts", attempts) }
        if record.pauses > 0 { line.add("pauses", record.pauses) }
        if !record.dropped.isEmpty { line.add("dropped", record.dropped.prefix(16).joined(separator: ",")) }
        if record.pings > 0 { line.add("pings", record.pings) }
        if record.upstreamStatus != 0 { line.add("upstream_status", record.upstreamStatus) }
        if !record.upstreamError.isEmpty { line.add("upstream_error", record.upstreamError) }
        if let trace = record.trace {
            line.add("trace_id", trace.traceID)
            line.add("span_id", record.spanID)
            if !trace.parentID.isEmpty { line.add("parent_id", trace.parentID) }
        }
        if !record.detail.isEmpty { line.add("detail", record.detail) }
        if !record.prompt.isEmpty { line.add("prompt", record.prompt) }
        if !record.answer.isEmpty { line.add("answer", record.answer) }
        post(&line)
    }

    private func post(_ line: inout Line) {
        let bytes = line.finished()
        let wasEmpty = pending.withLock { waiting in
            let wasEmpty = waiting.bytes.isEmpty
            if waiting.bytes.count + bytes.count > Self.limitBytes {
                waiting.dropped += 1
                droppedLines.add(1, ordering: .relaxed)
            } else {
                waiting.bytes += bytes
            }
            return wasEmpty
        }
        if wasEmpty { wakeup.signal() }
    }

    private static func rank(_ level: LogSpec.Level) -> Int {
        switch level {
        case .debug: 0
        case .info: 1
        case .warning: 2
        case .error: 3
        }
    }

    /// RFC 3339, UTC, milliseconds.
    private static func timestamp() -> String {
        var time = timespec()
        clock_gettime(CLOCK_REALTIME, &time)
        var parts = tm()
        gmtime_r(&time.tv_sec, &parts)
        func pad(_ value: Int, _ width: Int) -> String {
            let digits = String(value)
            return String(repeating: "0", count: max(0, width - digits.count)) + digits
        }
        let date = "\(pad(Int(parts.tm_year) + 1900, 4))-\(pad(Int(parts.tm_mon) + 1, 2))-\(pad(Int(parts.tm_mday), 2))"
        let clock = "\(pad(Int(parts.tm_hour), 2)):\(pad(Int(parts.tm_min), 2)):\(pad(Int(parts.tm_sec), 2))"
        return "\(date)T\(clock).\(pad(time.tv_nsec / 1_000_000, 3))Z"
    }
}

/// One line under construction.
private struct Line: ~Copyable {
    private let format: LogSpec.Format
    private var out = ByteQueue()
    private var isFirst = true

    init(_ format: LogSpec.Format) { self.format = format }

    mutating func add(_ name: String, _ value: String) {
        open(name)
        JSONText.appendQuoted(value, into: &out)
    }

    mutating func add(_ name: String, _ value: Int) {
        open(name)
        out.append(decimal: value)
    }

    /// With three decimals, so that what is shorter than a millisecond is told too.
    mutating func add(_ name: String, milliseconds: Interval) {
        let micros = Int(clamping: milliseconds.nanoseconds / 1000)
        open(name)
        out.append(decimal: micros / 1000)
        guard micros % 1000 > 0 else { return }
        let decimals = String(micros % 1000)
        out.append("." + String(repeating: "0", count: 3 - decimals.count) + decimals)
    }

    /// With one decimal.
    mutating func add(_ name: String, tenths value: Double) {
        let tenths = Int(exactly: (value * 10).rounded()) ?? 0
        open(name)
        out.append(decimal: tenths / 10)
        out.append(".")
        out.append(decimal: tenths % 10)
    }

    mutating func finished() -> [UInt8] {
        out.append(format == .json ? "}\n" : "\n")
        return out.withUnsafeBytes { Array($0) }
    }

    private mutating func open(_ name: String) {
        switch format {
        case .json:
            out.append(isFirst ? "{" : ",")
            JSONText.appendQuoted(name, into: &out)
            out.append(":")
        case .text:
            if !isFirst { out.append(" ") }
            out.append(name)
            out.append("=")
        }
        isFirst = false
    }
}
