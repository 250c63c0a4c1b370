import SluiceBytes

/// What a probe stream is to be: the value of the field `Sluice-Probe` of the request that asks for it.
///
/// `id=a1;framing=sse;wait=0;events=20x100x64+1x0x65536;silence=6000;keepalive=0;plain`: groups of events as count, milliseconds
/// before each, and bytes of padding in each; then milliseconds of silence, and a last event behind it.
public struct ProbePlan: Equatable, Sendable {
    public enum Framing: String, CaseIterable, Sendable {
        case sse, ndjson, text

        public var contentType: String {
            switch self {
            case .sse: "text/event-stream"
            case .ndjson: "application/x-ndjson"
            case .text: "text/plain; charset=utf-8"
            }
        }
    }

    public struct Group: Equatable, Sendable {
        public var count: Int
        public var interval: Interval
        public var bytes: Int

        public init(_ count: Int, every interval: Interval, bytes: Int) {
            (self.count, self.interval, self.bytes) = (count, interval, bytes)
        }
    }

    public static let field: StaticString = "sluice-probe"
    public static let keyField: StaticString = "sluice-probe-key"
    /// How many events, bytes of padding and how much time one stream may take, whoever asks.
    public static let eventLimit = 2_000
    public static let byteLimit = 1 << 20
    public static let timeLimit = Interval.seconds(600)

    /// 1 to 64 letters and digits, that nobody else chooses.
    public var id: String
    public var framing = Framing.sse
    /// Before the answer's head.
    public var wait = Interval.zero
    public var groups: [Group] = []
    public var silence = Interval.zero
    /// Between comments within the silence, where the framing has any; zero: none.
    public var keepalive = Interval.zero
    /// Without the fields by which a stream asks not to be buffered and changed.
    public var isPlain = false

    public init(id: String, groups: [Group] = []) { (self.id, self.groups) = (id, groups) }

    public var eventCount: Int { groups.reduce(0) { $0 + $1.count } }

    /// From the request to the end.
    public var duration: Interval {
        let paced = groups.reduce(UInt64(0)) { $0 + UInt64($1.count) * $1.interval.milliseconds }
        return Interval.milliseconds(paced + wait.milliseconds + silence.milliseconds)
    }

    // MARK: - As a field

    /// nil: no plan, or one that would cost too much.
    public init?(_ text: String) {
        guard text.utf8.count <= 512 else { return nil }
        self.init(id: "")
        for part in text.split(separator: ";") {
            let pair = part.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false).map {
                String($0.trimmed)
            }
            guard set(pair[0], pair.count > 1 ? pair[1] : "") else { return nil }
        }
        guard Self.isID(id), isAffordable else { return nil }
    }

    private mutating func set(_ name: String, _ value: String) -> Bool {
        switch name {
        case "id": id = value
        case "framing":
            guard let known = Framing(rawValue: value) else { return false }
            framing = known
        case "wait": return Self.read(value, into: &wait)
        case "silence": return Self.read(value, into: &silence)
        case "keepalive":
            return Self.read(value, into: &keepalive) && (keepalive == .zero || keepalive >= .milliseconds(50))
        case "plain": isPlain = true
        case "events":
            groups = value.split(separator: "+").prefix(16).compactMap(Self.group)
            return !groups.isEmpty && groups.count == value.split(separator: "+").count
        default: return false
        }
        return true
    }

    private static func read(_ text: String, into interval: inout Interval) -> Bool {
        guard let milliseconds = UInt32(text) else { return false }
        interval = .milliseconds(UInt64(milliseconds))
        return true
    }

    private static func group(_ text: Substring) -> Group? {
        let numbers = text.split(separator: "x", omittingEmptySubsequences: false).map { UInt32($0) }
        guard numbers.count == 3, let count = numbers[0], let interval = numbers[1], let bytes = numbers[2],
            count > 0, count <= eventLimit, bytes <= byteLimit
        else { return nil }
        return Group(Int(count), every: .milliseconds(UInt64(interval)), bytes: Int(bytes))
    }

    public static func isID(_ text: String) -> Bool {
        (1...64).contains(text.utf8.count)
            && text.utf8.allSatisfy { ASCII.isDigit($0) || ASCII.lowercase($0) &- 0x61 < 26 }
    }

    private var isAffordable: Bool {
        eventCount <= Self.eventLimit && groups.reduce(0) { $0 + $1.count * $1.bytes } <= Self.byteLimit
            && duration <= Self.timeLimit
    }

    public var text: String {
        var text = "id=\(id);framing=\(framing.rawValue)"
        if wait > .zero { text += ";wait=\(wait.milliseconds)" }
        let groups = groups.map { "\($0.count)x\($0.interval.milliseconds)x\($0.bytes)" }
        if !groups.isEmpty { text += ";events=" + groups.joined(separator: "+") }
        if silence > .zero { text += ";silence=\(silence.milliseconds)" }
        if keepalive > .zero { text += ";keepalive=\(keepalive.milliseconds)" }
        return isPlain ? text + ";plain" : text
    }
}

extension Substring {
    fileprivate var trimmed: Substring {
        var text = self
        while text.first == " " { text.removeFirst() }
        while text.last == " " { text.removeLast() }
        return text
    }
}
