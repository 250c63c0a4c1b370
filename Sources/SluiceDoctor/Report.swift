import SluiceStreams

/// A diagnosis as it is written down.
extension Diagnosis {
    /// For people. What came from the server has no controls left.
    public func text(_ url: DoctorURL) -> String {
        var text = "\(url)\n"
        for line in path { text += "  \(Printable.line(line))\n" }
        text += "\n"
        for finding in findings {
            text += "\(finding.verdict.mark) \(finding.check): \(Printable.line(finding.message))\n"
            for line in finding.advice { text += "    → \(Printable.line(line))\n" }
        }
        return text + "\n\(summary)\n"
    }

    private var summary: String {
        let harmful = findings.filter { $0.verdict == .harmful }.count
        let warnings = findings.filter { $0.verdict == .warning }.count
        switch outcome {
        case .unreachable: return "Nothing could be examined."
        case .harmful:
            return "Streams suffer here: \(Words.count(harmful, "fault")), \(Words.count(warnings, "warning"))."
        case .well where isExact:
            return warnings == 0
                ? "Streams pass unharmed." : "Streams pass unharmed; \(Words.count(warnings, "warning"))."
        case .well: return "Nothing looks harmful, as far as arrival times tell."
        }
    }

    /// For programs, in one line that a terminal may show too.
    public func jsonText(_ url: DoctorURL) -> String {
        Printable.json(String(decoding: json(url).serialized(), as: UTF8.self)) + "\n"
    }

    func json(_ url: DoctorURL) -> JSONValue {
        [
            "url": JSONValue(url.description), "outcome": JSONValue(outcome.name), "exact": .bool(isExact),
            "between": .array(hops.map { JSONValue($0.name) }), "path": .array(path.map { JSONValue($0) }),
            "findings": .array(findings.map(\.json)),
        ]
    }
}
