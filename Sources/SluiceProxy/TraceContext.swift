import SluiceBytes

/// Where an exchange stands in somebody's distributed trace (W3C Trace Context, Level 2). Sluice takes part with a span of its
/// own: the same trace id and flags, a new parent id for the upstream.
struct TraceContext: Equatable {
    let traceID: String
    /// The span that asked us.
    let parentID: String
    let flags: String

    /// nil for what is no `traceparent` (§3.2.2): then there is no trace to go on with, and none is sent.
    init?(_ text: String) {
        let bytes = Array(text.utf8)
        guard bytes.count >= 55, bytes[2] == UInt8(ascii: "-"), bytes[35] == UInt8(ascii: "-"),
            bytes[52] == UInt8(ascii: "-")
        else { return nil }
        guard let version = Self.hex(bytes[0..<2]), version != "ff", let trace = Self.hex(bytes[3..<35]),
            let parent = Self.hex(bytes[36..<52]), let flags = Self.hex(bytes[53..<55])
        else { return nil }
        // Of later versions the first four fields are as they are here, and more may follow.
        guard version == "00" ? bytes.count == 55 : bytes.count == 55 || bytes[55] == UInt8(ascii: "-") else {
            return nil
        }
        guard trace.utf8.contains(where: { $0 != 0x30 }), parent.utf8.contains(where: { $0 != 0x30 }) else {
            return nil
        }
        (traceID, parentID, self.flags) = (trace, parent, flags)
    }

    /// For the next one of the chain. `span`: 16 lower-case hexadecimal digits.
    func child(span: String) -> String { "00-\(traceID)-\(span)-\(flags)" }

    private static func hex(_ bytes: ArraySlice<UInt8>) -> String? {
        guard bytes.allSatisfy({ ASCII.isDigit($0) || ($0 >= 0x61 && $0 <= 0x66) }) else { return nil }
        return String(decoding: bytes, as: UTF8.self)
    }
}
