import SluiceBytes

/// Writes metrics in Prometheus' text format 0.0.4: for each family its help, its type, then all of its samples.
struct MetricsText: ~Copyable {
    enum Kind: String { case counter, gauge, histogram }
    typealias Labels = [(name: String, value: String)]

    static let contentType = "text/plain; version=0.0.4; charset=utf-8"

    private var out = ByteQueue()
    private var name = ""

    /// Begins a family; the samples that follow are its own. A name is given once.
    mutating func family(_ name: String, _ kind: Kind, _ help: String) {
        self.name = name
        out.append("# HELP ")
        out.append(name)
        out.append(" ")
        appendEscaped(help, quotes: false)
        out.append("\n# TYPE ")
        out.append(name)
        out.append(" ")
        out.append(kind.rawValue)
        out.append("\n")
    }

    mutating func sample(_ labels: Labels = [], _ value: Int) { sample("", labels, "\(value)") }

    mutating func sample(_ labels: Labels = [], _ value: Double) { sample("", labels, Self.text(value)) }

    /// Buckets, each with those below it, then sum and count.
    mutating func sample(_ labels: Labels, _ histogram: Histogram) {
        var total = 0
        for (index, count) in histogram.counts.enumerated() {
            total += count
            let bound = index < histogram.bounds.count ? Self.text(histogram.bounds[index]) : "+Inf"
            sample("_bucket", labels + [(name: "le", value: bound)], "\(total)")
        }
        sample("_sum", labels, Self.text(histogram.sum))
        sample("_count", labels, "\(total)")
    }

    consuming func finished() -> [UInt8] { out.withUnsafeBytes { Array($0) } }

    private mutating func sample(_ suffix: StaticString, _ labels: Labels, _ value: String) {
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
        out.append("\n")
    }

    /// Label values escape backslash, quote and LF; help texts the first and the last of them.
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
}
