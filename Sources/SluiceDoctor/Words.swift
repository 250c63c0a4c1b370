import SluiceBytes

/// Figures and endings as people read them.
enum Words {
    /// `12 ms`, `1.9 s`.
    static func time(_ interval: Interval) -> String {
        let milliseconds = interval.milliseconds
        if milliseconds < 1 { return "less than 1 ms" }
        if milliseconds < 1_000 { return "\(milliseconds) ms" }
        let tenths = (milliseconds + 50) / 100
        return "\(tenths / 10).\(tenths % 10) s"
    }

    /// For programs: seconds with three digits behind the point.
    static func seconds(_ interval: Interval) -> String {
        let milliseconds = interval.milliseconds
        let rest = String(milliseconds % 1_000)
        return "\(milliseconds / 1_000)." + String(repeating: "0", count: 3 - rest.utf8.count) + rest
    }

    static func count(_ count: Int, _ noun: String) -> String { count == 1 ? "1 \(noun)" : "\(count) \(noun)s" }

    static func ending(_ ending: Observation.Ending) -> String {
        switch ending {
        case .running: "it goes on"
        case .whole: "the message ended as if it were whole"
        case .untilClose: "the connection was closed, which is where the message ends"
        case .closed: "the connection was closed in the middle of the message (FIN)"
        case .reset(let why): "the connection was reset (\(why))"
        case .streamReset(let code): "the stream was reset (RST_STREAM \(errorName(code)))"
        case .malformed(let what): "it is not HTTP any more (\(what))"
        case .timedOut: "nothing more came"
        case .left: "we left"
        case .unreachable(let why): why
        }
    }

    /// RFC 9113 §7.
    private static func errorName(_ code: UInt32) -> String {
        let names = [
            "NO_ERROR", "PROTOCOL_ERROR", "INTERNAL_ERROR", "FLOW_CONTROL_ERROR", "SETTINGS_TIMEOUT", "STREAM_CLOSED",
            "FRAME_SIZE_ERROR", "REFUSED_STREAM", "CANCEL",
        ]
        return Int(code) < names.count ? names[Int(code)] : "\(code)"
    }

    static func list(_ words: [String]) -> String {
        guard let last = words.last, words.count > 1 else { return words.first ?? "" }
        return words.dropLast().joined(separator: ", ") + " and " + last
    }
}

extension Interval {
    static func + (left: Interval, right: Interval) -> Interval {
        let (sum, overflow) = left.nanoseconds.addingReportingOverflow(right.nanoseconds)
        return Interval(nanoseconds: overflow ? .max : sum)
    }
}
