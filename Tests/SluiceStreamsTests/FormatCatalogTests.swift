import SluiceBytes
import SluiceStreams
import Testing

@Suite struct FormatCatalogTests {
    /// The table says what the encoders do.
    @Test(arguments: StreamFormat.allCases.filter { $0 != .passthrough })
    func agreesWithTheEncoders(format: StreamFormat) throws {
        var encoder = try #require(StreamEncoders.make(format, options: EncoderOptions()))
        #expect(encoder.contentType.description == format.contentType?.description)
        var batch = EventBatch()
        var out = ByteQueue()
        batch.append(.start(id: .empty, model: .empty, created: nil))
        batch.append(.text(choice: 0, batch.store("a")))
        encoder.encode(batch, into: &out)
        out.removeAll()
        let hasKeepalive = encoder.keepalive(into: &out)
        let written = out.withUnsafeBytes { String(decoding: $0, as: UTF8.self) }
        switch format.keepalive {
        case .comment: #expect(hasKeepalive && written == ":\n\n")
        case .ping: #expect(hasKeepalive && written.hasPrefix("event: ping\n"))
        case .none: #expect(!hasKeepalive && written.isEmpty)
        }
    }

    @Test func everyNameIsExplained() {
        #expect(Dialect.allCases.allSatisfy { $0.summary.utf8CodeUnitCount > 5 })
        #expect(StreamFormat.allCases.allSatisfy { $0.summary.utf8CodeUnitCount > 5 })
        #expect(RequestFormat.allCases.allSatisfy { $0.summary.utf8CodeUnitCount > 5 })
    }
}
