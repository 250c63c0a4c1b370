import SluiceHTTP

/// What a worker has compressed towards its clients, by coding.
struct CompressionCounts: Sendable {
    struct Sums: Sendable {
        var answers = 0
        /// Of bodies: what went into the compressor, and what came out of it.
        var plainBytes = 0
        var codedBytes = 0
    }
    private(set) var brotli = Sums()
    private(set) var gzip = Sums()

    mutating func count(_ stream: CompressedClientStream) {
        add(Sums(answers: 1, plainBytes: stream.plainBytes, codedBytes: stream.codedBytes), to: stream.coding)
    }

    mutating func add(_ other: CompressionCounts) {
        for coding in BodyCoding.allCases { add(other[coding], to: coding) }
    }

    subscript(coding: BodyCoding) -> Sums { coding == .brotli ? brotli : gzip }

    private mutating func add(_ sums: Sums, to coding: BodyCoding) {
        var own = self[coding]
        own.answers += sums.answers
        own.plainBytes += sums.plainBytes
        own.codedBytes += sums.codedBytes
        if coding == .brotli { brotli = own } else { gzip = own }
    }
}

extension MetricsExposition {
    static func appendCompression(_ reports: [WorkerReport], _ out: inout MetricsText) {
        var counts = CompressionCounts()
        for report in reports { counts.add(report.counters.compression) }
        let figures: [(String, String, KeyPath<CompressionCounts.Sums, Int>)] = [
            ("sluice_compressed_answers_total", "Answers that were compressed towards clients.", \.answers),
            (
                "sluice_compression_plain_bytes_total", "Bytes of answers' bodies before they were compressed.",
                \.plainBytes
            ),
            (
                "sluice_compression_coded_bytes_total", "Bytes of answers' bodies after they were compressed.",
                \.codedBytes
            ),
        ]
        for (name, help, figure) in figures {
            out.family(name, .counter, help)
            for coding in BodyCoding.allCases {
                out.sample([(name: "coding", value: coding.rawValue)], counts[coding][keyPath: figure])
            }
        }
    }
}
