import SluiceBytes
import SluiceStreams

/// A provider's stream as it was recorded, cut into its events, each with the time before it.
public struct Recording {
    /// What the file is called, without its folder and extension.
    public let name: String
    /// The folder that it lies in.
    public let folder: String
    public let contentType: String
    let events: [[UInt8]]
    /// Before each event, since the one before it; for the first, since the request.
    let delays: [Interval]

    /// How fast it is played.
    public struct Pace: Sendable {
        /// Between two events of a file without times of its own.
        public var interval = Interval.milliseconds(20)
        /// Times of a file are divided by it.
        public var speed = 1.0

        public init() {}
    }

    /// Why a recording cannot be played, in words.
    public struct Fault: Error, Equatable {
        public let message: String
    }

    /// `times`: of the file beside it whose name has `.times` at its end, one number of milliseconds for each event, with white
    /// space between them.
    public init(path: String, bytes: [UInt8], times: [UInt8]?, dialect: Dialect?, pace: Pace) throws(Fault) {
        let parts = path.split(separator: "/", omittingEmptySubsequences: false).map(String.init)
        let file = parts.last ?? path
        folder = parts.dropLast().last ?? ""
        let dot = file.lastIndex(of: ".").flatMap { $0 == file.startIndex ? nil : $0 } ?? file.endIndex
        name = String(file[..<dot])
        let (framing, type) = Self.framing(String(file[dot...].dropFirst()), folder: folder, dialect: dialect)
        contentType = type
        events = EventCutter.cut(bytes, framing)
        if let times {
            delays = try Self.delays(times, count: events.count, speed: pace.speed, path: path)
        } else {
            delays = events.indices.map { $0 == 0 ? .zero : pace.interval }
        }
    }

    /// By the dialect, the extension and the folder, in this order.
    private static func framing(
        _ suffix: String, folder: String, dialect: Dialect?
    ) -> (FormatCatalog.Framing?, String) {
        let bySuffix: FormatCatalog.Framing? =
            switch suffix {
            case "sse": .sse
            case "ndjson", "jsonl": .ndjson
            case "bin": .awsEventStream
            case "json": .jsonArray
            case "txt": .text
            default: nil
            }
        let known = dialect ?? Dialect(rawValue: folder)
        // Gemini sends either, and the extension says which.
        let framing = dialect == .gemini ? bySuffix ?? .sse : dialect?.framing ?? bySuffix ?? known?.framing
        if let known, known.framing == framing, let type = known.contentType { return (framing, type.description) }
        return (framing, framing?.contentType.description ?? "application/octet-stream")
    }

    private static func delays(
        _ times: [UInt8], count: Int, speed: Double, path: String
    ) throws(Fault) -> [Interval] {
        var delays: [Interval] = []
        for word in String(decoding: times, as: UTF8.self).split(whereSeparator: \.isWhitespace) {
            guard let time = Double(word), time >= 0, time / speed < 1e9 else {
                throw Fault(message: "\(path).times: '\(word)' is not a number of milliseconds")
            }
            delays.append(Interval(nanoseconds: UInt64(time / speed * 1e6)))
        }
        guard delays.count == count else {
            throw Fault(message: "\(path).times has \(delays.count) numbers, and the recording \(count) events")
        }
        return delays
    }

    var script: DemoScript {
        let steps = zip(delays, events).map { DemoScript.Step(delay: $0, bytes: $1) }
        return DemoScript(contentType: contentType, steps: steps)
    }
}

/// Cuts a recorded body where its events end. What is left at the end is the last event; together they are the body, always.
enum EventCutter {
    private static let pieceBytes = 1024

    static func cut(_ bytes: [UInt8], _ framing: FormatCatalog.Framing?) -> [[UInt8]] {
        let ends: [Int] =
            switch framing {
            case .sse: sseEnds(bytes)
            case .ndjson: bytes.indices.filter { bytes[$0] == ASCII.lf }.map { $0 + 1 }
            case .jsonArray: elementEnds(bytes)
            case .awsEventStream: frameEnds(bytes)
            case .text, nil: Array(stride(from: pieceBytes, to: bytes.count, by: pieceBytes))
            }
        var (events, start): ([[UInt8]], Int) = ([], 0)
        for end in ends + [bytes.count] where end > start {
            events.append(Array(bytes[start..<end]))
            start = end
        }
        return events
    }

    /// Behind each blank line. Lines end in LF, CR or both.
    private static func sseEnds(_ bytes: [UInt8]) -> [Int] {
        var (ends, index, lineStart): ([Int], Int, Int) = ([], 0, 0)
        while index < bytes.count {
            let byte = bytes[index]
            index += 1
            guard byte == ASCII.lf || byte == ASCII.cr else { continue }
            let isBlank = index - 1 == lineStart
            if byte == ASCII.cr, index < bytes.count, bytes[index] == ASCII.lf { index += 1 }
            lineStart = index
            if isBlank { ends.append(index) }
        }
        return ends
    }

    /// Behind each element of the outermost array.
    private static func elementEnds(_ bytes: [UInt8]) -> [Int] {
        var (ends, depth, isInString, isEscaped): ([Int], Int, Bool, Bool) = ([], 0, false, false)
        for (index, byte) in bytes.enumerated() {
            if isInString {
                if isEscaped {
                    isEscaped = false
                } else if byte == ASCII.backslash {
                    isEscaped = true
                } else if byte == ASCII.quote {
                    isInString = false
                }
                continue
            }
            switch byte {
            case ASCII.quote: isInString = true
            case ASCII.leftBrace, ASCII.leftBracket: depth += 1
            case ASCII.rightBrace, ASCII.rightBracket:
                depth -= 1
                if depth == 1 { ends.append(index + 1) }
            default: break
            }
        }
        // One object is no stream of its members.
        return bytes.first { $0 > ASCII.space } == ASCII.leftBracket ? ends : []
    }

    /// Behind each frame, as the length at its front says.
    private static func frameEnds(_ bytes: [UInt8]) -> [Int] {
        var (ends, start): ([Int], Int) = ([], 0)
        while start + 4 <= bytes.count {
            let length = bytes[start..<start + 4].reduce(0) { $0 << 8 | Int($1) }
            guard length >= 16, start + length <= bytes.count else { break }
            start += length
            ends.append(start)
        }
        return ends
    }
}
