import Foundation
import SluiceBytes
import SluiceStreams

/// What a stream of events amounts to, and each of them in words, to be compared.
struct Transcript: Equatable {
    struct Call: Equatable {
        var id = ""
        var name = ""
        var arguments = ""
        var hasEnded = false
    }
    var lines: [String] = []
    var text: [Int: String] = [:]
    var reasoning: [Int: String] = [:]
    var refusal: [Int: String] = [:]
    var calls: [Int: [Call]] = [:]
    var reasons: [Int: FinishReason] = [:]
    var words: [Int: String] = [:]
    var usage = Usage()
    var errors: [String] = []
    var pings = 0
    var ends = 0

    mutating func take(_ batch: borrowing EventBatch) {
        for event in batch.events { take(event, batch) }
    }

    private mutating func take(_ event: TokenEvent, _ batch: borrowing EventBatch) {
        switch event {
        case .start(let id, let model, let created):
            lines.append("start \(batch.string(id)) \(batch.string(model)) \(created ?? -1)")
        case .text(let choice, let range):
            lines.append("text \(choice) \(batch.string(range))")
            text[choice, default: ""] += batch.string(range)
        case .reasoning(let choice, let range):
            lines.append("reasoning \(choice) \(batch.string(range))")
            reasoning[choice, default: ""] += batch.string(range)
        case .refusal(let choice, let range):
            lines.append("refusal \(choice) \(batch.string(range))")
            refusal[choice, default: ""] += batch.string(range)
        case .toolCallStart(let choice, let index, let id, let name):
            lines.append("call \(choice) \(index) \(batch.string(id)) \(batch.string(name))")
            calls[choice, default: []].append(Call(id: batch.string(id), name: batch.string(name)))
        case .toolCallArguments(let choice, let index, let range):
            lines.append("arguments \(choice) \(index) \(batch.string(range))")
            if index < calls[choice]?.count ?? 0 { calls[choice]?[index].arguments += batch.string(range) }
        case .toolCallEnd(let choice, let index):
            lines.append("call end \(choice) \(index)")
            if index < calls[choice]?.count ?? 0 { calls[choice]?[index].hasEnded = true }
        case .finish(let choice, let reason, let raw):
            lines.append("finish \(choice) \(reason) \(batch.string(raw))")
            (reasons[choice], words[choice]) = (reason, batch.string(raw))
        case .usage(let counts):
            lines.append("usage \(counts)")
            usage = counts
        case .error(let kind, let message, let type, _):
            lines.append("error \(kind) \(batch.string(message)) \(batch.string(type))")
            errors.append(batch.string(message))
        case .ping:
            lines.append("ping")
            pings += 1
        case .end:
            lines.append("end")
            ends += 1
        case .reasoningSignature(let choice, let range): lines.append("signature \(choice) \(batch.string(range))")
        case .source(let url, let title): lines.append("source \(batch.string(url)) \(batch.string(title))")
        case .unknown: lines.append("unknown")
        }
    }

    /// Decodes the pieces one by one, and the end of the body.
    static func of(_ decoder: any StreamDecoder, _ pieces: [[UInt8]]) throws -> (Transcript, StreamProgress) {
        var decoder = decoder
        var batch = EventBatch()
        var transcript = Transcript()
        for piece in pieces {
            try decoder.feed(piece.span, into: &batch)
            transcript.take(batch)
            batch.removeAll()
        }
        try decoder.finish(into: &batch)
        transcript.take(batch)
        return (transcript, decoder.progress)
    }

    static func of(_ decoder: any StreamDecoder, _ text: String) throws -> (Transcript, StreamProgress) {
        try of(decoder, [Array(text.utf8)])
    }
}

/// An event of an event stream, as a reader that is not Sluice's sees it.
struct WireEvent: Equatable {
    var type = "message"
    var data = ""
    var id: String?

    /// WHATWG's grammar, written for whole texts: slow and plain.
    static func read(_ bytes: [UInt8]) -> [WireEvent] {
        let text = String(decoding: bytes, as: UTF8.self)
        // Swift takes CRLF for one character, so lines are cut over scalars.
        var lines: [String] = []
        var line = String.UnicodeScalarView()
        var previous: Unicode.Scalar?
        for scalar in text.unicodeScalars {
            if scalar == "\n", previous == "\r" {
                previous = scalar
                continue
            }
            if scalar == "\n" || scalar == "\r" {
                lines.append(String(line))
                line = String.UnicodeScalarView()
            } else {
                line.append(scalar)
            }
            previous = scalar
        }
        return events(lines)
    }

    private static func events(_ lines: [String]) -> [WireEvent] {
        var events: [WireEvent] = []
        var (event, data): (WireEvent, [String]) = (WireEvent(), [])
        for line in lines {
            if line.isEmpty {
                event.data = data.joined(separator: "\n")
                if !data.isEmpty { events.append(event) }
                (event, data) = (WireEvent(), [])
                continue
            }
            let parts = line.split(separator: ":", maxSplits: 1, omittingEmptySubsequences: false)
            var value = parts.count > 1 ? String(parts[1]) : ""
            if value.unicodeScalars.first == " " { value.unicodeScalars.removeFirst() }
            switch parts[0] {
            case "data": data.append(value)
            case "event": event.type = value
            case "id": event.id = value
            default: break
            }
        }
        return events
    }
}

func json(_ text: String) -> [String: Any] {
    (try? JSONSerialization.jsonObject(with: Data(text.utf8)) as? [String: Any]) ?? [:]
}

extension ByteQueue {
    var array: [UInt8] { withUnsafeBytes { Array($0) } }
    var text: String { withUnsafeBytes { String(decoding: $0, as: UTF8.self) } }
}
