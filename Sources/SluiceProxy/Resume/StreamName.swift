import SluiceBytes
import SluiceStreams

/// Names and positions as they come from outside.
enum StreamName {
    static let limitBytes = 128
    private static let idBytes = 22

    /// What a client may call a generation: visible ASCII without a slash.
    static func isAcceptable(_ text: String) -> Bool {
        (1...limitBytes).contains(text.utf8.count)
            && text.utf8.allSatisfy { $0 > 0x20 && $0 < 0x7F && $0 != UInt8(ascii: "/") }
    }

    /// A generation's own id has a form that few other names have; a client's that looks like it is looked for as both.
    static func isID(_ text: String) -> Bool {
        text.utf8.count == idBytes
            && text.utf8.allSatisfy { ASCII.isDigit($0) || ($0 | 0x20) &- 0x61 < 26 || $0 == 0x2D || $0 == 0x5F }
    }

    /// `Last-Event-ID`: `GENERATION/POSITION`.
    struct EventID: Equatable {
        enum Position: Equatable {
            case byte(Int)
            /// Everything has been read.
            case end
            /// It is no id of ours.
            case none
        }
        var generation: String
        var position: Position
    }

    /// nil for what is too long, or has bytes that no id has.
    static func eventID(_ text: String) -> EventID? {
        guard (1...limitBytes).contains(text.utf8.count), text.utf8.allSatisfy({ $0 > 0x20 && $0 < 0x7F }) else {
            return nil
        }
        let parts = text.split(separator: "/", maxSplits: 1, omittingEmptySubsequences: false)
        let name = String(parts[0])
        guard parts.count == 2 else { return EventID(generation: name, position: .none) }
        if parts[1] == EventStamper.end { return EventID(generation: name, position: .end) }
        guard isID(name), let position = position(parts[1]) else { return EventID(generation: name, position: .none) }
        return EventID(generation: name, position: .byte(position))
    }

    /// A count of bytes; nil for anything else.
    static func position(_ text: some StringProtocol) -> Int? {
        guard (1...18).contains(text.utf8.count), text.utf8.allSatisfy(ASCII.isDigit) else { return nil }
        return Int(text)
    }

    /// Percent escapes decoded; nil if what they stand for may be in no name.
    static func decoded(_ segment: some StringProtocol) -> String? {
        var bytes: [UInt8] = []
        var rest = segment.utf8.makeIterator()
        while let byte = rest.next(), bytes.count <= limitBytes {
            guard byte == UInt8(ascii: "%") else {
                bytes.append(byte)
                continue
            }
            guard let high = rest.next().flatMap(ASCII.hexValue), let low = rest.next().flatMap(ASCII.hexValue) else {
                return nil
            }
            bytes.append(high << 4 | low)
        }
        let name = String(decoding: bytes, as: UTF8.self)
        return isAcceptable(name) ? name : nil
    }
}
