import SluiceBytes
import SluiceHTTP

/// In which of two formats a scraper gets the metrics: Prometheus' text format 0.0.4, or OpenMetrics 1.0, which has exemplars.
enum MetricsFormat: Sendable {
    case text, openMetrics

    var contentType: String {
        switch self {
        case .text: "text/plain; version=0.0.4; charset=utf-8"
        case .openMetrics: "application/openmetrics-text; version=1.0.0; charset=utf-8"
        }
    }

    /// The one that `Accept` likes best (RFC 9110 §12.5.1); of those that it likes alike, the first. Who asks for neither gets the
    /// older one: to send nothing would help nobody.
    init(accepted fields: HeaderFields) {
        var wishes = ""
        for index in 0..<fields.count where ASCII.equalFolded(fields.name(at: index), "accept") {
            wishes += (wishes.isEmpty ? "" : ",") + fields.valueString(at: index)
        }
        self.init(accept: wishes)
    }

    init(accept: String) {
        var best: (format: MetricsFormat, weight: Double)?
        for element in Self.split(accept, at: ",") {
            guard let range = MediaRange(element), let format = range.format, range.weight > best?.weight ?? 0 else {
                continue
            }
            best = (format, range.weight)
        }
        self = best?.format ?? .text
    }

    /// Parts between separators that stand in no quotes.
    fileprivate static func split(_ text: String, at separator: Character) -> [Substring] {
        var isQuoted = false
        return text.split(omittingEmptySubsequences: true) { character in
            if character == "\"" { isQuoted.toggle() }
            return character == separator && !isQuoted
        }
    }
}

/// `application/openmetrics-text;version=1.0.0;q=0.5`
private struct MediaRange {
    let type: String
    var version: String?
    var weight = 1.0

    /// nil for a weight that is none: what cannot be understood is not there.
    init?(_ element: Substring) {
        let parts = MetricsFormat.split(String(element), at: ";").map { Self.trimmed($0) }
        guard let type = parts.first, !type.isEmpty else { return nil }
        self.type = type.lowercased()
        for part in parts.dropFirst() {
            let pair = part.split(separator: "=", maxSplits: 1).map { Self.trimmed($0) }
            guard pair.count == 2 else { continue }
            switch pair[0].lowercased() {
            case "version": version = pair[1].filter { $0 != "\"" }
            case "q":
                guard let weight = Double(pair[1]), (0...1).contains(weight) else { return nil }
                self.weight = weight
            default: break
            }
        }
    }

    /// What it asks for; nil for what is not to be had here.
    var format: MetricsFormat? {
        switch type {
        case "application/openmetrics-text": version == nil || version == "1.0.0" ? .openMetrics : nil
        case "text/plain": version == nil || version == "0.0.4" ? .text : nil
        case "application/*": .openMetrics
        case "text/*", "*/*": .text
        default: nil
        }
    }

    private static func trimmed(_ text: Substring) -> String {
        String(text.drop { $0 == " " || $0 == "\t" }.reversed().drop { $0 == " " || $0 == "\t" }.reversed())
    }
}
