import SluiceBytes
import SluiceHTTP

/// Where an exchange stands in a distributed trace (W3C Trace Context, Level 2). Sluice takes part with a span of its own: the same
/// trace id, a new parent id for the upstream.
struct TraceContext: Equatable {
    let traceID: String
    /// The span that asked us; "" where the trace begins here.
    let parentID: String
    let flags: String

    /// nil for what is no `traceparent` (§3.2.2): then there is no trace to go on with.
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

    /// `isRandom`: whoever made the trace's id threw dice for at least its last 56 bits (§3.2.3).
    init(traceID: String, parentID: String, isSampled: Bool, isRandom: Bool) {
        (self.traceID, self.parentID) = (traceID, parentID)
        flags = isRandom ? (isSampled ? "03" : "02") : isSampled ? "01" : "00"
    }

    /// For the next one of the chain. `span`: 16 lower-case hexadecimal digits.
    func child(span: String) -> String { "00-\(traceID)-\(span)-\(flags)" }

    var isSampled: Bool { bits & 1 == 1 }

    /// Flags that nobody has defined yet are not passed on by who sets one (§3.2.2.5).
    func sampled(_ isSampled: Bool) -> TraceContext {
        TraceContext(traceID: traceID, parentID: parentID, isSampled: isSampled, isRandom: bits & 2 == 2)
    }

    var bits: UInt8 { UInt8(flags, radix: 16) ?? 0 }

    /// Longer ones are not passed on (§3.3.1.5 asks for no more).
    private static let stateLimit = 512

    /// What others noted of a trace; its fields are one list (§3.3.1.1).
    static func state(_ fields: HeaderFields) -> String {
        var all = ""
        for index in 0..<fields.count where ASCII.equalFolded(fields.name(at: index), "tracestate") {
            all += (all.isEmpty ? "" : ",") + fields.valueString(at: index)
            if all.utf8.count > stateLimit { return "" }
        }
        return all
    }

    private static func hex(_ bytes: ArraySlice<UInt8>) -> String? {
        guard bytes.allSatisfy({ ASCII.isDigit($0) || ($0 >= 0x61 && $0 <= 0x66) }) else { return nil }
        return String(decoding: bytes, as: UTF8.self)
    }
}

/// Whose part an exchange is that no client has asked for: one of another exchange's steps.
struct SpanParent {
    /// `parentID` is the span that the step's own stands under.
    let context: TraceContext
    let state: String
    /// Of the step's span; "" for the name of a request.
    let name: String
}
