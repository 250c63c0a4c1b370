import CNghttp2
import SluiceBytes

/// HTTP/2 of one connection as bytes in and events out (RFC 9113), by nghttp2. No socket and no clock: time comes with
/// each call. Owned by one connection, on one thread.
///
/// After `receive`, take events with `nextEvent` until there is none, while the bytes that were handed over still live.
/// `send` and `pump` frame what may go out into `output`; they too leave events. Windows are returned for a body as its
/// bytes are handed over, unless reading of the stream is paused; the connection's window is returned at once, so that a
/// paused stream never stops its neighbours.
public final class HTTP2Session {
    public enum Role: Sendable { case server, client }

    let role: Role
    let limits: HTTP2Limits
    private(set) var session: OpaquePointer?

    /// Framed bytes for the socket. Their owner takes them out.
    public var output = ByteQueue()
    /// Body bytes of all streams that wait for a window or for room in `output`.
    public private(set) var waitingBytes = 0
    /// What `output` should hold at most, and what already waits for the socket counts into it.
    public var outputLimitBytes: Int { limits.outputBytes }
    /// Streams that are open, as far as whoever takes the events has heard.
    public private(set) var streamCount = 0
    /// A head whose fields are not all there yet: since when.
    public internal(set) var headStarted: Instant?

    private(set) var streams: [HTTP2Stream?] = []
    private var freeSlots: [Int] = []
    private var events: [HTTP2Event] = []
    private var nextIndex = 0
    /// Streams that are to be reset when all that could be framed is.
    private var resetsBehindHeads: [HTTP2Stream] = []

    // Known while a call lasts.
    private(set) var now = Instant(nanoseconds: 0)
    var inputBase: UnsafePointer<UInt8>?
    private var room = 0
    /// What a callback found while something was sent: the connection can do nothing more.
    public private(set) var failure: HTTP2Error?

    /// How the peer behaves.
    var conduct: HTTP2Conduct

    public init(_ role: Role, limits: HTTP2Limits) throws(HTTP2Error) {
        (self.role, self.limits) = (role, limits)
        conduct = HTTP2Conduct(limits)
        session = try HTTP2Callbacks.makeSession(role, limits, owner: self)
        try sendSettings()
    }

    deinit { nghttp2_session_del(session) }

    private func sendSettings() throws(HTTP2Error) {
        var entries: [nghttp2_settings_entry] = [
            setting(NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, limits.streamWindowBytes),
            setting(NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, limits.headBytes + 32 * limits.fields),
        ]
        switch role {
        case .server:
            entries.append(setting(NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, limits.concurrentStreams))
            entries.append(setting(NGHTTP2_SETTINGS_NO_RFC7540_PRIORITIES, 1))
        case .client: entries.append(setting(NGHTTP2_SETTINGS_ENABLE_PUSH, 0))
        }
        try check(nghttp2_submit_settings(session, UInt8(NGHTTP2_FLAG_NONE.rawValue), &entries, entries.count))
        let window = Int32(clamping: limits.connectionWindowBytes)
        try check(nghttp2_session_set_local_window_size(session, UInt8(NGHTTP2_FLAG_NONE.rawValue), 0, window))
    }

    private func setting(_ id: nghttp2_settings_id, _ value: Int) -> nghttp2_settings_entry {
        nghttp2_settings_entry(settings_id: Int32(id.rawValue), value: UInt32(clamping: value))
    }

    private func check(_ code: Int32) throws(HTTP2Error) {
        if code != 0 { throw .malformed(String(cString: nghttp2_strerror(code))) }
    }

    // MARK: - Receiving

    /// Takes all of `bytes`.
    /// - Throws: for what ends the connection; send `output` and close.
    public func receive(_ bytes: Span<UInt8>, now: Instant) throws(HTTP2Error) {
        self.now = now
        if let failure { throw failure }
        let used = bytes.withUnsafeBufferPointer { buffer in
            inputBase = buffer.baseAddress
            return nghttp2_session_mem_recv(session, buffer.baseAddress, buffer.count)
        }
        inputBase = nil
        if used >= 0 { return }
        throw end(used)
    }

    /// Writes the last word of a connection that nghttp2 gave up with `used`.
    private func end(_ used: Int) -> HTTP2Error {
        let error = conduct.violation ?? .malformed(String(cString: nghttp2_strerror(Int32(clamping: used))))
        var code = conduct.code
        if case .limit = error { code = HTTP2Code.enhanceYourCalm }
        let floods = [NGHTTP2_ERR_FLOODED.rawValue, NGHTTP2_ERR_TOO_MANY_CONTINUATIONS.rawValue]
        if floods.contains(Int32(clamping: used)) { code = HTTP2Code.enhanceYourCalm }
        appendGoAway(code)
        failure = error
        return error
    }

    /// nghttp2 says nothing more after a fatal error, so the last word is written here (RFC 9113 §6.8).
    private func appendGoAway(_ code: UInt32) {
        output.append([0, 0, 8, UInt8(NGHTTP2_GOAWAY.rawValue), 0, 0, 0, 0, 0])
        for word in [UInt32(bitPattern: nghttp2_session_get_last_proc_stream_id(session)), code] {
            for shift in [24, 16, 8, 0] { output.append(UInt8(truncatingIfNeeded: word >> UInt32(shift))) }
        }
    }

    /// What happened, in order. A slot is free again once its `closed` has been taken.
    public func nextEvent() -> HTTP2Event? {
        guard nextIndex < events.count else {
            if nextIndex > 0 {
                events.removeAll(keepingCapacity: true)
                nextIndex = 0
            }
            return nil
        }
        let event = events[nextIndex]
        nextIndex += 1
        switch event {
        case .body(let slot, let range): bodyTaken(slot, range.count)
        case .closed(let slot, _): release(slot)
        default: break
        }
        return event
    }

    /// The next event, if it is another run of that stream's body.
    public func nextBody(of slot: Int) -> Range<Int>? {
        guard nextIndex < events.count, case .body(slot, let range) = events[nextIndex] else { return nil }
        nextIndex += 1
        bodyTaken(slot, range.count)
        return range
    }

    private func bodyTaken(_ slot: Int, _ count: Int) {
        guard let stream = streams[slot] else { return }
        nghttp2_session_consume_connection(session, count)
        if stream.lingersSince != nil { countLingering(stream, count) }
        if stream.isWithholding {
            stream.withheldBytes += count
        } else {
            nghttp2_session_consume_stream(session, stream.id, count)
        }
    }

    func release(_ slot: Int) {
        guard let stream = streams[slot] else { return }
        waitingBytes -= stream.waiting.count
        streams[slot] = nil
        streamCount -= 1
        freeSlots.append(slot)
    }

    /// False once RST_STREAM went either way: no answer would be read.
    public func isOpen(_ slot: Int) -> Bool { streams[slot].map { !$0.isClosed && !$0.isResetByUs } ?? false }

    /// The peer's message has not ended yet.
    public func isReceiving(_ slot: Int) -> Bool { streams[slot].map { !$0.isPeerDone && !$0.isClosed } ?? false }

    /// Body bytes are still handed over, but no further window is returned for them. Or again.
    public func setReading(_ slot: Int, _ isReading: Bool) {
        guard let stream = streams[slot], stream.isWithholding == isReading else { return }
        stream.isWithholding = !isReading
        guard isReading, stream.withheldBytes > 0, !stream.isClosed else { return }
        nghttp2_session_consume_stream(session, stream.id, stream.withheldBytes)
        stream.withheldBytes = 0
    }

    // MARK: - Bodies

    /// Sends all of `bytes` and empties it: into `output` while there is room (until it holds `room` bytes), windows
    /// permitting; what cannot go now waits in the session. With `isLast` the message ends there.
    public func send(_ slot: Int, _ bytes: inout ByteQueue, isLast: Bool, room: Int, now: Instant) {
        defer { bytes.removeAll() }
        guard let stream = streams[slot], !stream.isClosed, !stream.isResetByUs, !stream.isOutputComplete else {
            return
        }
        if isLast { stream.isOutputComplete = true }
        (self.room, self.now) = (room, now)
        guard stream.waiting.isEmpty, output.count < room else { return hold(bytes.span, stream) }
        bytes.withUnsafeBytes { buffer in
            stream.direct = buffer
            nghttp2_session_resume_data(session, stream.id)
            pump(room: room, now: now)
            let rest = stream.direct
            stream.direct = UnsafeBufferPointer(start: nil, count: 0)
            if !rest.isEmpty { hold(rest.span, stream) }
        }
    }

    private func hold(_ bytes: Span<UInt8>, _ stream: HTTP2Stream) {
        if stream.waiting.isEmpty, !bytes.isEmpty { stream.waitingSince = now }
        stream.waiting.append(bytes)
        waitingBytes += bytes.count
        nghttp2_session_resume_data(session, stream.id)
    }

    /// Frames what may go out until `output` holds `room` bytes. Leaves events. True if only room was missing for more:
    /// pump again when `output` has been taken, for nothing else may ask for it.
    @discardableResult
    public func pump(room: Int, now: Instant) -> Bool {
        (self.room, self.now) = (room, now)
        while failure == nil, output.count < room {
            var bytes: UnsafePointer<UInt8>?
            let count = nghttp2_session_mem_send(session, &bytes)
            if count < 0 { _ = end(count) }
            guard count > 0, let bytes else {
                if resetBehindHeads() { continue }
                break
            }
            output.append(UnsafeBufferPointer(start: bytes, count: count))
        }
        return output.count >= room && wantsToSend
    }

    /// Frames one DATA frame, header and payload. False if it has to wait for room.
    func writeData(_ stream: HTTP2Stream, header: UnsafePointer<UInt8>, count: Int) -> Bool {
        guard output.count < room else { return false }
        output.append(UnsafeBufferPointer(start: header, count: 9))
        stream.sentBytes += count
        if !stream.waiting.isEmpty {
            output.append(stream.waiting.span.extracting(0..<count))
            stream.waiting.consume(count)
            waitingBytes -= count
            noteProgress(stream)
        } else if count > 0 {
            output.append(UnsafeBufferPointer(rebasing: stream.direct[..<count]))
            stream.direct = UnsafeBufferPointer(rebasing: stream.direct[count...])
        }
        let isEnd = header[4] & UInt8(NGHTTP2_FLAG_END_STREAM.rawValue) != 0
        if isEnd, role == .server, !stream.isPeerDone { linger(stream) }
        return true
    }

    private func noteProgress(_ stream: HTTP2Stream) {
        if stream.waiting.isEmpty {
            stream.waitingSince = nil
            stream.waiting.releaseIfEmpty()
        } else {
            stream.waitingSince = now
        }
        if stream.tellsWhenDrained, stream.waiting.count <= limits.streamLowBytes {
            stream.tellsWhenDrained = false
            emit(.drained(slot: stream.slot))
        }
    }

    /// True if so much waits that the stream's source should pause; `.drained` follows when it need not any more.
    public func isCongested(_ slot: Int) -> Bool {
        guard let stream = streams[slot], !stream.isClosed else { return false }
        let waiting = stream.waiting.count
        let isOver =
            waiting > limits.streamHighBytes
            || (waiting > limits.streamLowBytes && waitingBytes > limits.connectionHighBytes)
        if isOver { stream.tellsWhenDrained = true }
        return isOver
    }

    /// Body bytes of the stream that are not framed yet.
    public func waitingBytes(_ slot: Int) -> Int { streams[slot]?.waiting.count ?? 0 }
    /// Since when none of what waits for the stream could go; nil if nothing waits.
    public func waitingSince(_ slot: Int) -> Instant? { streams[slot]?.waitingSince }
    /// Body bytes of the stream that were framed.
    public func sentBytes(_ slot: Int) -> Int { streams[slot]?.sentBytes ?? 0 }

    // MARK: - Ending

    /// Ends the stream with RST_STREAM now; what waits for it is dropped. `ifSending`: only if our message is not complete.
    public func reset(_ slot: Int, _ code: UInt32, ifSending: Bool = false) {
        guard let stream = streams[slot], !stream.isClosed, !stream.isResetByUs else { return }
        if ifSending, stream.isOutputComplete, stream.waiting.isEmpty { return }
        submitReset(stream, code)
    }

    /// Ends the stream with RST_STREAM when all that waits is out, so that the peer gets what there was and cannot take it
    /// for complete.
    public func resetAfterSending(_ slot: Int) {
        guard let stream = streams[slot], !stream.isClosed, !stream.isResetByUs else { return }
        // For nghttp2 a reset overtakes a head that it has not framed yet, and the peer would never see the status.
        let mayHoldHead = stream.isHeadSent && output.count >= room
        guard mayHoldHead || !stream.waiting.isEmpty else { return submitReset(stream, HTTP2Code.internalError) }
        stream.isFailing = true
        if stream.waiting.isEmpty { resetsBehindHeads.append(stream) }
    }

    /// All that could be framed is: the heads that these streams waited for are out. True if there is more to frame now.
    private func resetBehindHeads() -> Bool {
        guard !resetsBehindHeads.isEmpty else { return false }
        for stream in resetsBehindHeads where !stream.isClosed && !stream.isResetByUs && stream.waiting.isEmpty {
            submitReset(stream, HTTP2Code.internalError)
        }
        resetsBehindHeads = []
        return true
    }

    func submitReset(_ stream: HTTP2Stream, _ code: UInt32) {
        stream.isResetByUs = true
        nghttp2_submit_rst_stream(session, UInt8(NGHTTP2_FLAG_NONE.rawValue), stream.id, code)
    }

    /// First of two GOAWAYs: no more streams, please, but those on their way still count (RFC 9113 §6.8).
    public func announceShutdown() { nghttp2_submit_shutdown_notice(session) }

    /// No stream above those that have come is taken; they still end in their time.
    public func goAway(_ code: UInt32) {
        let last = nghttp2_session_get_last_proc_stream_id(session)
        nghttp2_submit_goaway(session, UInt8(NGHTTP2_FLAG_NONE.rawValue), last, code, nil, 0)
    }

    public func ping() { nghttp2_submit_ping(session, UInt8(NGHTTP2_FLAG_NONE.rawValue), nil) }

    /// Nothing more is to be said or heard: close when `output` is sent.
    public var isOver: Bool {
        failure != nil || nghttp2_session_want_read(session) == 0 && nghttp2_session_want_write(session) == 0
    }

    /// Something can be framed as soon as there is room.
    public var wantsToSend: Bool { failure == nil && nghttp2_session_want_write(session) != 0 }

    // MARK: - Clients

    /// Streams that the peer takes at a time; 100 until its settings are known.
    public var peerConcurrentStreams: Int {
        Int(nghttp2_session_get_remote_settings(session, NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS))
    }

    /// A request can be sent now, and not only be queued.
    public var canOpen: Bool {
        role == .client && failure == nil && nghttp2_session_check_request_allowed(session) != 0
            && streamCount < peerConcurrentStreams
    }

    /// No request will ever be taken again: GOAWAY, or the identifiers are used up.
    public var isRetired: Bool { nghttp2_session_check_request_allowed(session) == 0 }

    // MARK: - For the callbacks

    func makeStream(id: Int32) -> HTTP2Stream {
        let slot = freeSlots.popLast() ?? streams.count
        if slot == streams.count { streams.append(nil) }
        let stream = HTTP2Stream(id: id, slot: slot)
        streams[slot] = stream
        streamCount += 1
        return stream
    }

    func emit(_ event: HTTP2Event) { events.append(event) }

    private var peerInitialWindow: Int {
        Int(nghttp2_session_get_remote_settings(session, NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE))
    }

    /// SETTINGS begin.
    func noteWindows() {
        let windows = streams.lazy.compactMap { $0 }.map { [session] stream in
            Int(nghttp2_session_get_stream_remote_window_size(session, stream.id))
        }
        conduct.noteWindows(largest: windows.max() ?? 0, initial: peerInitialWindow)
    }

    func checkWindows() -> Bool { conduct.checkWindows(initial: peerInitialWindow) }
}
