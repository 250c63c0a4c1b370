import SluiceBytes

/// What a managed process writes to one of its streams, as lines for the log: bounded in length, and with its secrets taken out. Pure.
struct ProcessOutput {
    private let redaction: Redaction
    private var line: [UInt8] = []
    /// The rest of a line that is too long is dropped up to its end.
    private var isCut = false

    static let lineLimit = 8 << 10

    init(_ redaction: Redaction) { self.redaction = redaction }

    /// Lines end at LF or CR: progress bars write only CR. Empty ones are left out.
    mutating func feed(_ bytes: Span<UInt8>) -> [String] {
        var lines: [String] = []
        // Beyond the limit stands enough to recognise a secret that begins before it.
        let most = Self.lineLimit + redaction.longest
        for index in bytes.indices {
            let byte = bytes[index]
            if byte == ASCII.lf || byte == ASCII.cr {
                if let text = finish() { lines.append(text) }
            } else if line.count < most {
                line.append(byte)
            } else {
                isCut = true
            }
        }
        return lines
    }

    /// The process has ended, or begins anew: what stands there without a line end.
    mutating func finish() -> String? {
        defer {
            line.removeAll(keepingCapacity: true)
            isCut = false
        }
        guard !line.isEmpty else { return nil }
        let clean = redaction.apply(line)
        let isTooLong = isCut || clean.count > Self.lineLimit
        return String(decoding: clean.prefix(Self.lineLimit), as: UTF8.self) + (isTooLong ? "…" : "")
    }
}

/// Puts `***` where one of some secrets stands in a text.
struct Redaction {
    private let secrets: [[UInt8]]
    /// In bytes; 0 without any.
    let longest: Int
    /// A shorter one would be found in innocent words, and hides nothing worth hiding.
    private static let shortest = 6

    init(_ secrets: [String]) {
        let long = secrets.map { Array($0.utf8) }.filter { $0.count >= Self.shortest }
        self.secrets = long.sorted { $0.count > $1.count }
        longest = self.secrets.first?.count ?? 0
    }

    func apply(_ text: [UInt8]) -> [UInt8] {
        guard !secrets.isEmpty else { return text }
        var result: [UInt8] = []
        result.reserveCapacity(text.count)
        var rest = text[...]
        while let first = rest.first {
            if let secret = secrets.first(where: { $0.first == first && rest.starts(with: $0) }) {
                result += Array("***".utf8)
                rest = rest.dropFirst(secret.count)
            } else {
                result.append(first)
                rest = rest.dropFirst()
            }
        }
        return result
    }
}

/// How much of a process's output may go into the log: a burst, then a steady rate; the rest is dropped and counted. Pure.
struct OutputBudget {
    private var bytes = Double(burstBytes)
    private var last: Instant
    private var dropped = 0

    static let burstBytes = 512 << 10
    static let bytesPerSecond = 64 << 10
    /// What a line costs beside its bytes.
    static let lineBytes = 128

    init(now: Instant) { last = now }

    mutating func admits(_ line: String, at now: Instant) -> Bool {
        bytes = min(Double(Self.burstBytes), bytes + (now - last).seconds * Double(Self.bytesPerSecond))
        last = now
        let cost = Double(line.utf8.count + Self.lineBytes)
        guard bytes >= cost else {
            dropped += 1
            return false
        }
        bytes -= cost
        return true
    }

    /// Lines that were dropped and not told yet.
    mutating func takeDropped() -> Int {
        defer { dropped = 0 }
        return dropped
    }
}
