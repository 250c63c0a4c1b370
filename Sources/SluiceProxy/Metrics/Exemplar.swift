import Glibc
import SluiceBytes

/// One value that fell into a bucket, with the trace in which it did: the way from a figure to an exchange that made it. Numbers
/// in place of texts, since every bucket of every series may hold one.
struct Exemplar: Sendable, Equatable {
    let exchange: TracedExchange
    let value: Double

    /// As OpenMetrics writes it behind a bucket. Its labels have 63 characters, of the 128 that it allows.
    var text: String {
        let span = Self.hex(exchange.span, 16)
        let trace = Self.hex(exchange.trace.high, 16) + Self.hex(exchange.trace.low, 16)
        return
            " # {trace_id=\"\(trace)\",span_id=\"\(span)\"} \(MetricsText.text(value)) \(MetricsText.text(exchange.time))"
    }

    private static func hex(_ number: UInt64, _ width: Int) -> String {
        let digits = String(number, radix: 16)
        return String(repeating: "0", count: max(0, width - digits.count)) + digits
    }
}

/// What the exemplars of one exchange have in common.
struct TracedExchange: Sendable, Equatable {
    struct TraceID: Sendable, Equatable { let high, low: UInt64 }
    let trace: TraceID
    let span: UInt64
    /// When it ended, in seconds since 1970, to the millisecond.
    let time: Double

    /// nil where nobody keeps the trace: its id would lead nowhere.
    init?(_ trace: TraceContext?, spanID: String, time: Double) {
        guard let trace, let flags = UInt8(trace.flags, radix: 16), flags & 1 == 1, trace.traceID.utf8.count == 32,
            let high = UInt64(trace.traceID.prefix(16), radix: 16),
            let low = UInt64(trace.traceID.suffix(16), radix: 16), let span = UInt64(spanID, radix: 16)
        else { return nil }
        (self.trace, self.span, self.time) = (TraceID(high: high, low: low), span, time)
    }

    /// Of an exchange that is over. Most have no trace, and read no clock.
    init?(_ record: borrowing ExchangeRecord) {
        guard record.trace != nil else { return nil }
        var now = timespec()
        clock_gettime(CLOCK_REALTIME, &now)
        self.init(
            record.trace, spanID: record.spanID,
            time: (Double(now.tv_sec) * 1000 + Double(now.tv_nsec / 1_000_000)) / 1000)
    }
}
