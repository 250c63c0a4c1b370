import CNghttp2
import SluiceBytes

/// The heads of an HTTP/2 connection's messages, both ways.
extension HTTP2Session {
    /// The head that `.head` announced. Call once.
    /// - Throws: what is wrong with it; the stream itself is sound and can be answered.
    public func takeRequest(_ slot: Int) throws(HTTPError) -> (head: RequestHead, length: BodyLength) {
        guard let stream = streams[slot] else { throw .truncated }
        let head = stream.head
        stream.head = HTTP2HeadBuilder()
        stream.expectsContinue = head.expectsContinue
        let length: BodyLength = stream.isBodyless ? .none : head.contentLength.map { .fixed($0) } ?? .chunked
        return (try head.request(), length)
    }

    public func takeResponse(_ slot: Int) throws(HTTPError) -> ResponseHead {
        guard let stream = streams[slot] else { throw .truncated }
        let head = stream.head
        stream.head = HTTP2HeadBuilder()
        return try head.response()
    }

    /// Answers a request. With `isLast` there is no body; else follow with `send`.
    public func respond(_ slot: Int, _ head: ResponseHead, length: BodyLength, isLast: Bool) {
        guard let stream = streams[slot], !stream.isClosed, !stream.isHeadSent else { return }
        stream.isHeadSent = true
        if isLast {
            stream.isOutputComplete = true
            if !stream.isPeerDone { linger(stream) }
        }
        var block = HTTP2FieldBlock()
        block.add(":status", String(head.status))
        block.add(head.fields)
        if case .fixed(let count) = length { block.add("content-length", String(count)) }
        let id = stream.id
        block.withValues { values, count in
            if isLast {
                nghttp2_submit_response(session, id, values, count, nil)
            } else {
                var provider = HTTP2Callbacks.provider(stream)
                nghttp2_submit_response(session, id, values, count, &provider)
            }
        }
    }

    /// 100 (Continue), if the request waits for it (RFC 9110 §10.1.1).
    public func sendContinue(_ slot: Int) {
        guard let stream = streams[slot], stream.expectsContinue, !stream.isPeerDone, !stream.isClosed,
            !stream.isHeadSent
        else { return }
        stream.expectsContinue = false
        var block = HTTP2FieldBlock()
        block.add(":status", "100")
        block.withValues { values, count in
            nghttp2_submit_headers(
                session, UInt8(NGHTTP2_FLAG_NONE.rawValue), stream.id, nil, values, count, nil)
        }
    }

    /// Opens a stream with a request and returns its slot; nil if the connection takes no more.
    public func request(_ head: RequestHead, isTLS: Bool, length: BodyLength) -> Int? {
        guard canOpen else { return nil }
        var block = HTTP2FieldBlock()
        block.add(":method", head.method)
        block.add(":scheme", isTLS ? "https" : "http")
        block.add(":authority", head.authority)
        block.add(":path", head.target)
        block.add(head.fields)
        if case .fixed(let count) = length { block.add("content-length", String(count)) }
        let stream = makeStream(id: nghttp2_session_get_next_stream_id(session).asStreamID)
        let hasBody = length != .none && length != .fixed(0)
        stream.isOutputComplete = !hasBody
        stream.isHeadSent = true
        let id = block.withValues { values, count in
            var provider = HTTP2Callbacks.provider(stream)
            let context = Unmanaged.passUnretained(stream).toOpaque()
            return withUnsafePointer(to: &provider) { provider in
                nghttp2_submit_request(session, nil, values, count, hasBody ? provider : nil, context)
            }
        }
        guard id == stream.id else {
            release(stream.slot)
            return nil
        }
        return stream.slot
    }
}

extension UInt32 {
    fileprivate var asStreamID: Int32 { Int32(truncatingIfNeeded: self) }
}
