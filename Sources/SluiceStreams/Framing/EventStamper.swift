import SluiceBytes

/// Puts into each event of an event stream an `id` that says where to go on behind it (WHATWG HTML §9.2): the stream's name and the
/// count of bytes that have left by the end of the event. Cut invariant, and holds back two bytes at most.
///
/// Lines leave with LF, whatever they came with; ids that were there before give way.
public struct EventStamper {
    /// What a format's clients can bear.
    public enum Style: Sendable {
        /// Ids, a first block that has no event but an id and `retry`, and a last one that says that all is read.
        case complete
        /// Ids inside events only. The libraries of OpenAI, Anthropic and Cohere take a block without data for an event.
        case inEvents
    }
    private enum Place {
        /// So many bytes of `id` have matched, and wait.
        case lineStart(matched: Int)
        case line
        /// Of an id that gives way.
        case id
    }

    public let style: Style
    /// Bytes that have left.
    public private(set) var position: Int
    private let prefix: [UInt8]
    private var place = Place.lineStart(matched: 0)
    /// Something of the event has left.
    private var hasLines = false
    /// An LF that comes next belongs to the CR before it.
    private var endedInCR = false
    /// Bytes of a byte order mark, which only a stream's first line may bear; 3: past it.
    private var markSeen = 0

    /// How long a browser waits before it asks again.
    public static let retryMilliseconds = 1000
    /// In place of a position: all has been read.
    public static let end = "end"

    public init(name: String, style: Style) {
        (self.style, position) = (style, 0)
        prefix = Array("id: \(name)/".utf8)
    }

    /// Once, before anything else.
    public mutating func open(into out: inout ByteQueue) {
        guard style == .complete else { return }
        let before = out.count
        out.append("retry: ")
        out.append(decimal: Self.retryMilliseconds)
        out.append(ASCII.lf)
        position += out.count - before
        appendID(into: &out)
    }

    public mutating func stamp(_ bytes: Span<UInt8>, into out: inout ByteQueue) {
        var index = markSeen < 3 ? skipMark(bytes, into: &out) : 0
        while index < bytes.count {
            let byte = bytes[index]
            if endedInCR {
                endedInCR = false
                if byte == ASCII.lf {
                    index += 1
                    continue
                }
            }
            switch place {
            case .lineStart(let matched): index = beginLine(byte, matched, at: index, into: &out)
            case .line: index = copyLine(bytes, from: index, into: &out)
            case .id:
                index = Self.lineEnd(bytes, from: index)
                if index < bytes.count { index = endLine(bytes[index], at: index) }
            }
        }
    }

    /// Once, at the end of a body that is whole.
    public mutating func close(into out: inout ByteQueue) {
        guard style == .complete else { return }
        switch place {
        case .lineStart(matched: 1): append("i\n", into: &out)
        case .line: append("\n", into: &out)
        case .lineStart, .id: break
        }
        let before = out.count
        out.append(prefix)
        out.append(Self.end)
        out.append("\n\n")
        position += out.count - before
    }

    // MARK: - Lines

    private mutating func beginLine(_ byte: UInt8, _ matched: Int, at index: Int, into out: inout ByteQueue) -> Int {
        let isEnd = byte == ASCII.lf || byte == ASCII.cr
        switch matched {
        case 0 where isEnd:
            if hasLines { appendID(into: &out) }
            hasLines = false
            return endLine(byte, at: index)
        case 0 where byte == UInt8(ascii: "i"): place = .lineStart(matched: 1)
        case 1 where byte == UInt8(ascii: "d"): place = .lineStart(matched: 2)
        case 2 where byte == ASCII.colon: place = .id
        case 2 where isEnd: return endLine(byte, at: index)
        default:
            // Another field, whose first bytes have waited.
            if matched > 0 { append(matched == 1 ? "i" : "id", into: &out) }
            (place, hasLines) = (.line, true)
            return index
        }
        return index + 1
    }

    private mutating func copyLine(_ bytes: Span<UInt8>, from start: Int, into out: inout ByteQueue) -> Int {
        let end = Self.lineEnd(bytes, from: start)
        out.append(bytes.extracting(start..<end))
        position += end - start
        guard end < bytes.count else { return end }
        append("\n", into: &out)
        return endLine(bytes[end], at: end)
    }

    private mutating func endLine(_ byte: UInt8, at index: Int) -> Int {
        place = .lineStart(matched: 0)
        endedInCR = byte == ASCII.cr
        return index + 1
    }

    private static func lineEnd(_ bytes: Span<UInt8>, from start: Int) -> Int {
        var end = start
        while end < bytes.count, bytes[end] != ASCII.lf, bytes[end] != ASCII.cr { end += 1 }
        return end
    }

    /// The id's line and the blank one that ends the event. The position counts its own digits.
    private mutating func appendID(into out: inout ByteQueue) {
        let rest = position + prefix.count + 2
        var digits = 1
        while Self.digits(rest + digits) > digits { digits += 1 }
        position = rest + digits
        out.append(prefix)
        out.append(decimal: position)
        out.append("\n\n")
    }

    private static func digits(_ number: Int) -> Int {
        var (count, rest) = (1, number / 10)
        while rest > 0 { (count, rest) = (count + 1, rest / 10) }
        return count
    }

    private mutating func append(_ text: StaticString, into out: inout ByteQueue) {
        out.append(text)
        position += text.utf8CodeUnitCount
    }

    /// Where the rest begins. Behind the first block a mark would be a part of the line.
    private mutating func skipMark(_ bytes: Span<UInt8>, into out: inout ByteQueue) -> Int {
        let mark: [3 of UInt8] = [0xEF, 0xBB, 0xBF]
        var index = 0
        while markSeen < 3, index < bytes.count {
            guard bytes[index] == mark[markSeen] else {
                // Some other line.
                if markSeen > 0 {
                    out.append(mark.span.extracting(0..<markSeen))
                    position += markSeen
                    (place, hasLines) = (.line, true)
                }
                markSeen = 3
                return index
            }
            (markSeen, index) = (markSeen + 1, index + 1)
        }
        return index
    }
}

extension StreamFormat {
    /// nil: no ids. The format has no events, or its clients read lines in ways of their own.
    public var stampStyle: EventStamper.Style? {
        switch self {
        case .sseText, .sseJSON, .vercelUI, .agUI: .complete
        case .openAIChat, .openAIResponses, .openAICompletions, .anthropic, .cohere: .inEvents
        case .text, .ndjson, .gemini, .ollamaChat, .ollamaGenerate, .vercelData, .mlflow, .passthrough: nil
        }
    }
}
