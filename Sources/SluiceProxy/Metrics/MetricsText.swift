import SluiceBytes

/// Writes metrics as a scraper reads them: for each family what it is, then all of its samples. In Prometheus' text format 0.0.4 a
/// family has the name of its samples; in OpenMetrics 1.0 a counter's samples end in `_total` and its family does not, units have
/// lines of their own, and buckets may have exemplars.
///
/// No `_created` is written, though OpenMetrics would like it: everything here counts since `process_start_time_seconds`, and
/// Prometheus would store one more series for each counter.
struct MetricsText: ~Copyable {
    /// `info`: a family of one sample that is always 1, with what there is to say in its labels; its name ends in `_info`.
    enum Kind: String { case counter, gauge, histogram, info }
    typealias Labels = [(name: String, value: String)]

    private let format: MetricsFormat
    private var out = ByteQueue()
    /// Of the family, as `format` has it, and of what it is.
    private var name = ""
    private var kind = Kind.gauge

    init(_ format: MetricsFormat = .text) { self.format = format }

    /// Begins a family; the samples that follow are its own. A name is given once, and with the ending that its samples have in
    /// either format: `_total` for counters, `_info` for what is of that kind.
    mutating func family(_ name: String, _ kind: Kind, _ help: String) {
        (self.name, self.kind) = (name, kind)
        guard format == .openMetrics else {
            describe("HELP", help)
            return describe("TYPE", (kind == .info ? .gauge : kind).rawValue)
        }
        if kind == .counter { self.name = Self.without("_total", name) }
        if kind == .info { self.name = Self.without("_info", name) }
        describe("TYPE", kind.rawValue)
        if let unit = Self.unit(of: self.name) { describe("UNIT", unit) }
        describe("HELP", help)
    }

    mutating func sample(_ labels: Labels = [], _ value: Int) { single(labels, "\(value)") }

    mutating func sample(_ labels: Labels = [], _ value: Double) { single(labels, Self.text(value)) }

    /// Buckets, each with those below it, then sum and count.
    mutating func sample(_ labels: Labels, _ histogram: Histogram) {
        var total = 0
        for (index, count) in histogram.counts.enumerated() {
            total += count
            let bound = index < histogram.bounds.count ? Self.bound(histogram.bounds[index]) : "+Inf"
            var exemplar: Exemplar?
            if format == .openMetrics, index < histogram.exemplars.count { exemplar = histogram.exemplars[index] }
            write("_bucket", labels + [(name: "le", value: bound)], "\(total)", exemplar)
        }
        write("_sum", labels, Self.text(histogram.sum))
        write("_count", labels, "\(total)")
    }

    consuming func finished() -> [UInt8] {
        if format == .openMetrics { out.append("# EOF\n") }
        return out.withUnsafeBytes { Array($0) }
    }

    private mutating func single(_ labels: Labels, _ value: String) {
        guard format == .openMetrics else { return write("", labels, value) }
        switch kind {
        case .counter: write("_total", labels, value)
        case .info: write("_info", labels, value)
        case .gauge, .histogram: write("", labels, value)
        }
    }

    private mutating func describe(_ word: StaticString, _ text: String) {
        out.append("# ")
        out.append(word)
        out.append(" ")
        out.append(name)
        out.append(" ")
        appendEscaped(text, quotes: format == .openMetrics)
        out.append("\n")
    }

    private mutating func write(
        _ suffix: StaticString, _ labels: Labels, _ value: String, _ exemplar: Exemplar? = nil
    ) {
        out.append(name)
        out.append(suffix)
        for (index, label) in labels.enumerated() {
            out.append(index == 0 ? "{" : ",")
            out.append(label.name)
            out.append("=\"")
            appendEscaped(label.value, quotes: true)
            out.append("\"")
        }
        if !labels.isEmpty { out.append("}") }
        out.append(" ")
        out.append(value)
        if let exemplar { out.append(exemplar.text) }
        out.append("\n")
    }

    /// Label values escape backslash, quote and LF; help texts the first and the last of them, and in OpenMetrics the quote too.
    private mutating func appendEscaped(_ text: String, quotes: Bool) {
        for byte in text.utf8 {
            switch byte {
            case ASCII.backslash: out.append("\\\\")
            case ASCII.lf: out.append("\\n")
            case ASCII.quote where quotes: out.append("\\\"")
            default: out.append(byte)
            }
        }
    }

    /// As Go's `ParseFloat` reads it; whole numbers without a fraction.
    static func text(_ value: Double) -> String {
        if value.isNaN { return "NaN" }
        if value.isInfinite { return value < 0 ? "-Inf" : "+Inf" }
        if let whole = Int(exactly: value) { return "\(whole)" }
        return "\(value)"
    }

    /// A bucket's bound as Go writes numbers, with a fraction: series are told apart by that text, so it is the same in both
    /// formats, and the one that OpenMetrics wants.
    static func bound(_ value: Double) -> String {
        guard abs(value) >= 1e6, let whole = Int(exactly: value) else {
            return value.isFinite ? "\(value)" : text(value)
        }
        let digits = String(whole.magnitude)
        let fraction = digits.dropFirst().reversed().drop { $0 == "0" }.reversed()
        let power = digits.count - 1
        return (whole < 0 ? "-" : "") + digits.prefix(1) + (fraction.isEmpty ? "" : "." + String(fraction))
            + (power < 10 ? "e+0" : "e+") + "\(power)"
    }

    private static func without(_ ending: String, _ name: String) -> String {
        name.hasSuffix(ending) ? String(name.dropLast(ending.utf8.count)) : name
    }

    /// OpenMetrics wants it to end the name; these are the units that there are here.
    private static func unit(of name: String) -> String? {
        ["seconds", "bytes"].first { name.hasSuffix("_" + $0) }
    }
}
