import SluiceBytes
import SluiceHTTP

/// How an exchange's answer is compressed towards its client, on a route that does so.
extension Exchange {
    /// Sends the head of an answer, and puts a compressor between what follows and the client if the client takes one.
    func sendHead(_ head: ResponseHead, length: BodyLength, compressedBy codings: [BodyCoding]) {
        var (head, length) = (head, length)
        ResponseCompression.addVary(to: &head.fields)
        if let stream = compressedStream(head, length, codings) {
            (compressed, client) = (stream, stream)
            head.fields = ResponseCompression.fields(head.fields, codedBy: stream.coding)
            // How long it will be, nobody knows.
            if case .fixed = length { length = .chunked }
        }
        client.sendHead(head, length: length)
    }

    private func compressedStream(
        _ head: ResponseHead, _ length: BodyLength, _ codings: [BodyCoding]
    ) -> CompressedClientStream? {
        var isOwn = false
        if case .stream = mode { isOwn = true }
        guard
            let coding = ResponseCompression.coding(
                for: head, length: length, of: self.head, isOwn: isOwn, among: codings)
        else { return nil }
        // Half of what all buffers may hold stays free of compressors: without one an answer is larger, and nothing else.
        guard BufferedBytes.total + BodyCompressor.memoryBytes(coding) <= worker.bufferedBytesLimit / 2,
            let stream = CompressedClientStream(coding, to: client, of: self)
        else {
            worker.metrics.compressionsSkipped += 1
            return nil
        }
        return stream
    }

    /// The body is over, or nobody takes it any more.
    func endCompression() {
        guard let compressed else { return }
        compressed.release()
        (record.coding, record.plainBytes) = (compressed.coding.rawValue, compressed.plainBytes)
        worker.metrics.compression.count(compressed)
        self.compressed = nil
    }
}
