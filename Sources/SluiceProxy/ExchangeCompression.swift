import SluiceBytes
import SluiceHTTP

/// How an exchange's answer is compressed towards its client, on a route that does so.
extension Exchange {
    /// Sends the head of an answer, and puts a compressor between what follows and the client if the client takes one.
    func sendHead(_ head: ResponseHead, length: BodyLength, compressedBy codings: [BodyCoding]) {
        var head = head
        ResponseCompression.addVary(to: &head.fields)
        // What is kept for others stays plain: its first reader gets the compressor.
        if generation != nil { return client.sendHead(head, length: length) }
        let answer = compressing(head, length, to: client, codings)
        client = answer.client
        client.sendHead(answer.head, length: answer.length)
    }

    /// How an answer goes out to `client`, if the route compresses and it takes that.
    func compressing(
        _ head: ResponseHead, _ length: BodyLength, to client: any ClientStream, _ codings: [BodyCoding]
    ) -> (client: any ClientStream, head: ResponseHead, length: BodyLength) {
        guard !codings.isEmpty, let stream = compressedStream(head, length, to: client, codings) else {
            return (client, head, length)
        }
        compressed = stream
        var coded = head
        coded.fields = ResponseCompression.fields(head.fields, codedBy: stream.coding)
        // How long it will be, nobody knows.
        if case .fixed = length { return (stream, coded, .chunked) }
        return (stream, coded, length)
    }

    private func compressedStream(
        _ head: ResponseHead, _ length: BodyLength, to client: any ClientStream, _ codings: [BodyCoding]
    ) -> CompressedClientStream? {
        // What is read on was a stream when it was made.
        var isOwn = following != nil
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
        // The first reader of what is kept may still have something to read.
        if generation == nil { compressed.release() }
        (record.coding, record.plainBytes) = (compressed.coding.rawValue, compressed.plainBytes)
        self.compressed = nil
    }
}
