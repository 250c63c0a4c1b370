import CNghttp2
import SluiceBytes

/// What nghttp2 calls. Each function notes what happened and returns; decisions are taken after the call into nghttp2.
enum HTTP2Callbacks {
    /// Makes a session that calls back `owner`, which it does not retain: nghttp2 calls only from inside the owner's own
    /// calls, and the owner's `deinit` frees the session.
    static func makeSession(
        _ role: HTTP2Session.Role, _ limits: HTTP2Limits, owner: HTTP2Session
    ) throws(HTTP2Error) -> OpaquePointer {
        var (callbacks, option, session): (OpaquePointer?, OpaquePointer?, OpaquePointer?) = (nil, nil, nil)
        defer {
            nghttp2_session_callbacks_del(callbacks)
            nghttp2_option_del(option)
        }
        guard nghttp2_session_callbacks_new(&callbacks) == 0, nghttp2_option_new(&option) == 0 else {
            throw .malformed("out of memory")
        }
        nghttp2_option_set_no_auto_window_update(option, 1)
        nghttp2_option_set_no_closed_streams(option, 1)
        nghttp2_option_set_max_outbound_ack(option, limits.unsentControlFrames)
        nghttp2_option_set_max_continuations(option, limits.continuations)
        nghttp2_option_set_peer_max_concurrent_streams(option, 100)
        nghttp2_option_set_max_reserved_remote_streams(option, 0)
        install(callbacks)
        let context = Unmanaged.passUnretained(owner).toOpaque()
        let code =
            role == .server
            ? nghttp2_session_server_new2(&session, callbacks, context, option)
            : nghttp2_session_client_new2(&session, callbacks, context, option)
        guard code == 0, let session else { throw .malformed(String(cString: nghttp2_strerror(code))) }
        return session
    }

    /// Where nghttp2 gets a stream's body from.
    static func provider(_ stream: HTTP2Stream) -> nghttp2_data_provider {
        var provider = nghttp2_data_provider()
        provider.source.ptr = Unmanaged.passUnretained(stream).toOpaque()
        provider.read_callback = { _, _, _, length, flags, source, _ in
            guard let pointer = source?.pointee.ptr, let flags else { return HTTP2Callbacks.callbackFailure }
            let stream = Unmanaged<HTTP2Stream>.fromOpaque(pointer).takeUnretainedValue()
            let available = stream.availableBytes
            if available == 0 {
                if stream.isFailing {
                    stream.isResetByUs = true  // nghttp2 does it; it is nothing that the peer has caused
                    return Int(NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE.rawValue)
                }
                if !stream.isOutputComplete { return Int(NGHTTP2_ERR_DEFERRED.rawValue) }
            }
            let count = min(length, available)
            flags.pointee |= NGHTTP2_DATA_FLAG_NO_COPY.rawValue
            if stream.isOutputComplete, !stream.isFailing, count == available {
                flags.pointee |= NGHTTP2_DATA_FLAG_EOF.rawValue
            }
            return count
        }
        return provider
    }

    private static let callbackFailure = Int(NGHTTP2_ERR_CALLBACK_FAILURE.rawValue)
    private static let fatal = NGHTTP2_ERR_CALLBACK_FAILURE.rawValue

    private static func session(_ context: UnsafeMutableRawPointer?) -> HTTP2Session {
        guard let context else { preconditionFailure("nghttp2 lost its user_data") }
        return Unmanaged<HTTP2Session>.fromOpaque(context).takeUnretainedValue()
    }

    private static func stream(_ session: OpaquePointer?, _ id: Int32) -> HTTP2Stream? {
        guard let pointer = nghttp2_session_get_stream_user_data(session, id) else { return nil }
        return Unmanaged<HTTP2Stream>.fromOpaque(pointer).takeUnretainedValue()
    }

    private static func install(_ callbacks: OpaquePointer?) {
        nghttp2_session_callbacks_set_on_begin_frame_callback(callbacks) { _, header, context in
            guard let header else { return HTTP2Callbacks.fatal }
            return HTTP2Callbacks.frameBegan(header.pointee, HTTP2Callbacks.session(context)) ? 0 : HTTP2Callbacks.fatal
        }
        nghttp2_session_callbacks_set_on_begin_headers_callback(callbacks) { session, frame, context in
            guard let frame else { return HTTP2Callbacks.fatal }
            HTTP2Callbacks.headersBegan(session, frame.pointee, HTTP2Callbacks.session(context))
            return 0
        }
        nghttp2_session_callbacks_set_on_header_callback(callbacks) {
            session, frame, name, nameCount, value, valueCount, _, context in
            guard let frame, let stream = HTTP2Callbacks.stream(session, frame.pointee.hd.stream_id) else { return 0 }
            let owner = HTTP2Callbacks.session(context)
            let name = UnsafeBufferPointer(start: name, count: nameCount)
            let value = UnsafeBufferPointer(start: value, count: valueCount)
            if stream.fields.add(name.span, value.span, owner.limits) { return 0 }
            _ = owner.conduct.refuse(Limit("http2_head_bytes", owner.limits.headBytes))
            return HTTP2Callbacks.fatal
        }
        // A field that is not valid makes the whole message malformed (RFC 9113 §8.2.1); nghttp2 would drop the field.
        nghttp2_session_callbacks_set_on_invalid_header_callback(callbacks) {
            session, frame, _, _, _, _, _, context in
            guard let frame else { return HTTP2Callbacks.fatal }
            let owner = HTTP2Callbacks.session(context)
            guard owner.conduct.countReset(at: owner.now) else { return HTTP2Callbacks.fatal }
            if let stream = HTTP2Callbacks.stream(session, frame.pointee.hd.stream_id) {
                owner.submitReset(stream, HTTP2Code.protocolError)
            }
            return Int32(NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE.rawValue)
        }
        nghttp2_session_callbacks_set_on_frame_recv_callback(callbacks) { session, frame, context in
            guard let frame else { return HTTP2Callbacks.fatal }
            return HTTP2Callbacks.frameReceived(session, frame, HTTP2Callbacks.session(context))
                ? 0 : HTTP2Callbacks.fatal
        }
        nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks) {
            session, _, id, data, count, context in
            let owner = HTTP2Callbacks.session(context)
            guard let stream = HTTP2Callbacks.stream(session, id), let data, let base = owner.inputBase else {
                return 0
            }
            let start = data - base
            owner.conduct.noteBody()
            owner.emit(.body(slot: stream.slot, start..<(start + count)))
            return 0
        }
        nghttp2_session_callbacks_set_on_invalid_frame_recv_callback(callbacks) { _, _, _, context in
            let owner = HTTP2Callbacks.session(context)
            return owner.conduct.countReset(at: owner.now) ? 0 : HTTP2Callbacks.fatal
        }
        nghttp2_session_callbacks_set_on_stream_close_callback(callbacks) { session, id, code, context in
            guard let stream = HTTP2Callbacks.stream(session, id) else { return 0 }
            // Where the answer below ends the connection, nghttp2 keeps its stream, while ours will be gone.
            nghttp2_session_set_stream_user_data(session, id, nil)
            return HTTP2Callbacks.streamClosed(stream, code, HTTP2Callbacks.session(context)) ? 0 : HTTP2Callbacks.fatal
        }
        nghttp2_session_callbacks_set_send_data_callback(callbacks) {
            _, _, header, count, source, context in
            guard let pointer = source?.pointee.ptr, let header else { return HTTP2Callbacks.fatal }
            let stream = Unmanaged<HTTP2Stream>.fromOpaque(pointer).takeUnretainedValue()
            let isSent = HTTP2Callbacks.session(context).writeData(stream, header: header, count: count)
            return isSent ? 0 : NGHTTP2_ERR_WOULDBLOCK.rawValue
        }
    }

    // MARK: - Frames

    /// Counts what costs work without doing any. False when it is too much.
    private static func frameBegan(_ header: nghttp2_frame_hd, _ owner: HTTP2Session) -> Bool {
        switch UInt32(header.type) {
        case NGHTTP2_HEADERS.rawValue: return owner.role == .client || owner.conduct.noteStream(header.stream_id)
        case NGHTTP2_CONTINUATION.rawValue where header.length > HTTP2Limits.frameBytes:
            // nghttp2 looks at the size of all other frames.
            return owner.conduct.refuse("too large a CONTINUATION", HTTP2Code.frameSizeError)
        case NGHTTP2_DATA.rawValue, NGHTTP2_WINDOW_UPDATE.rawValue,
            NGHTTP2_RST_STREAM.rawValue, NGHTTP2_CONTINUATION.rawValue:
            return true
        case NGHTTP2_PRIORITY.rawValue where header.stream_id == 0:
            // nghttp2 looks at no PRIORITY frame once it has said that priorities are not used.
            return owner.conduct.refuse("PRIORITY on stream 0")
        case NGHTTP2_SETTINGS.rawValue:
            owner.noteWindows()
            return owner.conduct.countControlFrame(at: owner.now)
        default: return owner.conduct.countControlFrame(at: owner.now)
        }
    }

    private static func headersBegan(_ session: OpaquePointer?, _ frame: nghttp2_frame, _ owner: HTTP2Session) {
        owner.headStarted = owner.now
        guard frame.headers.cat == NGHTTP2_HCAT_REQUEST, owner.role == .server else { return }
        let id = frame.hd.stream_id
        let stream = owner.makeStream(id: id)
        nghttp2_session_set_stream_user_data(session, id, Unmanaged.passUnretained(stream).toOpaque())
        // Tokens of all streams are alike urgent: each gets its turn, whatever the client asked for (RFC 9218 §10).
        var priority = nghttp2_extpri(urgency: 3, inc: 1)
        nghttp2_session_change_extpri_stream_priority(session, id, &priority, 1)
    }

    private static func frameReceived(
        _ session: OpaquePointer?, _ frame: UnsafePointer<nghttp2_frame>, _ owner: HTTP2Session
    ) -> Bool {
        let header = frame.pointee.hd
        switch UInt32(header.type) {
        case NGHTTP2_HEADERS.rawValue:
            owner.headStarted = nil
            if let stream = stream(session, header.stream_id) { headReceived(stream, header, owner) }
        case NGHTTP2_DATA.rawValue:
            let isEnd = header.flags & UInt8(NGHTTP2_FLAG_END_STREAM.rawValue) != 0
            if isEnd, let stream = stream(session, header.stream_id) {
                stream.isPeerDone = true
                owner.emit(.end(slot: stream.slot))
            } else if header.length == frame.pointee.data.padlen {
                return owner.conduct.countEmptyFrame()
            }
        case NGHTTP2_RST_STREAM.rawValue:
            stream(session, header.stream_id)?.isResetByPeer = true
            return owner.conduct.countReset(at: owner.now)
        case NGHTTP2_SETTINGS.rawValue:
            if header.flags & UInt8(NGHTTP2_FLAG_ACK.rawValue) == 0 {
                owner.emit(.settings)
                return owner.checkWindows()
            }
        case NGHTTP2_PING.rawValue:
            if header.flags & UInt8(NGHTTP2_FLAG_ACK.rawValue) != 0 { owner.emit(.pong) }
        case NGHTTP2_GOAWAY.rawValue: owner.emit(.goAway(code: frame.pointee.goaway.error_code))
        default: break
        }
        return true
    }

    private static func headReceived(_ stream: HTTP2Stream, _ header: nghttp2_frame_hd, _ owner: HTTP2Session) {
        let isEnd = header.flags & UInt8(NGHTTP2_FLAG_END_STREAM.rawValue) != 0
        if isEnd { stream.isPeerDone = true }
        var fields = stream.fields
        stream.fields = HTTP2HeadBuilder()
        let isInterim = owner.role == .client && (100..<200).contains(fields.status)
        if isInterim {
            stream.interimBytes += fields.cost
            // As over HTTP/1.1, all of them together count as one head.
            if stream.interimBytes > owner.limits.headBytes { fields.fail(owner.limits.headCrossed) }
        }
        if stream.hasHead {
            // Trailers: nobody downstream of a stream of tokens can use them.
        } else if isInterim, fields.failure == nil {
            owner.emit(.interim(slot: stream.slot, status: fields.status))
        } else {
            (stream.head, stream.hasHead, stream.isBodyless) = (fields, true, isEnd)
            owner.emit(.head(slot: stream.slot))
        }
        if isEnd { owner.emit(.end(slot: stream.slot)) }
    }

    private static func streamClosed(_ stream: HTTP2Stream, _ code: UInt32, _ owner: HTTP2Session) -> Bool {
        stream.isClosed = true
        if owner.role == .server, stream.isPeerDone || stream.isResetByPeer { owner.conduct.noteEnded(stream.id) }
        owner.emit(.closed(slot: stream.slot, code: code))
        owner.headStarted = nil
        // What the peer made us reset, in ways that the frame callbacks do not see, costs as much as its own resets.
        let isProvoked = code != HTTP2Code.noError && !stream.isResetByUs && !stream.isResetByPeer
        return isProvoked && owner.role == .server ? owner.conduct.countReset(at: owner.now) : true
    }
}
