import SluiceBytes
import SluiceHTTP
import SluiceStreams

/// What stands between two sockets for one stream, as the proxy joins it: bytes of the upstream's connection in, bytes
/// of the client's out. This is what is measured.
struct TokenPath: ~Copyable {
    private var parser = HTTP1ResponseParser()
    private var bridge: StreamBridge
    private var batch = EventBatch()
    /// The body bytes of one read without HTTP's framing, as an upstream's connection joins them.
    private var run = ByteQueue()
    private(set) var hasEnded = false

    init(_ bridge: consuming StreamBridge) {
        self.bridge = bridge
        parser.begin(requestMethod: "POST")
    }

    var tokenCount: Int { bridge.tokenCount }

    /// Takes one read. All that it brought the client leaves in one chunk.
    mutating func carry(_ read: Span<UInt8>, into out: inout ByteQueue) throws {
        var offset = 0
        var mark: ByteQueue.Mark?
        while !hasEnded {
            switch try parser.next(read, at: &offset) {
            case .needMore:
                if let mark { HTTP1Serializer.closeChunk(mark, in: &out) }
                return
            case .interim: continue
            case .head: appendHead(into: &out)
            case .body(let range):
                if mark == nil { mark = HTTP1Serializer.openChunk(in: &out) }
                guard offset < read.count else {
                    try bridge.consume(read.extracting(range), batch: &batch, into: &out)
                    continue
                }
                var joined = ByteQueue()
                swap(&joined, &run)
                joined.append(read.extracting(range))
                hasEnded = try parser.collectBody(read, at: &offset, into: &joined)
                try bridge.consume(joined.span, batch: &batch, into: &out)
                joined.removeAll()
                swap(&joined, &run)
            case .end: hasEnded = true
            }
        }
        if mark == nil { mark = HTTP1Serializer.openChunk(in: &out) }
        hasEnded = try bridge.finish(batch: &batch, into: &out) == .complete
        if let mark { HTTP1Serializer.closeChunk(mark, in: &out) }
        HTTP1Serializer.lastChunk(into: &out)
    }

    private func appendHead(into out: inout ByteQueue) {
        var fields = HeaderFields()
        fields.append("Content-Type", bridge.contentType)
        let head = ResponseHead(status: 200, fields: fields)
        HTTP1Serializer.response(head, length: .chunked, keepAlive: true, version: .http11, into: &out)
    }
}
