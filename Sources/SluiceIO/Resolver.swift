import CAres
import CLinux
import Glibc
import SluiceBytes

/// Host names to addresses, by c-ares in the event loop: /etc/hosts first, then the name servers of /etc/resolv.conf,
/// which is read once. One for each loop, on its thread. Close it before it goes.
///
/// Answers are kept for their TTL (1 s to 5 min; failures 1 s), and for an hour longer in case no name server answers. All
/// who ask for the same name while it is looked up share one query.
public final class Resolver: TimerHandler {
    public typealias Completion = (Result<[IPAddress], ResolverError>) -> Void

    private unowned let loop: EventLoop
    private var channel: ares_channel?
    private var setupFailure = ResolverError.closed
    private var cache = ResolverCache()
    private var queries: [String: Query] = [:]
    private var sockets: [Int32: Socket] = [:]
    private var timer = TimerID.none

    private static let queryLimit = Limit("resolver_queries", 512)
    private static let waiterLimit = Limit("resolver_waiters", 16384)
    /// However many name servers and search domains there are to try.
    private static let deadline = Interval.seconds(10)
    /// Where there is an old answer to fall back on (RFC 8767 §5).
    private static let staleDeadline = Interval.milliseconds(1800)
    /// `ares_library_init` is not thread-safe; a static is initialized once.
    private static let libraryStatus = ares_library_init(ARES_LIB_INIT_ALL)

    /// A resolver that cannot be set up answers each question with the reason.
    /// - Parameters:
    ///   - loop: whose thread this is used on.
    ///   - servers: name servers in place of the system's, as `address:port,address:port`.
    ///   - tryTimeout: how long one name server has for its first answer; it is asked twice.
    public init(loop: EventLoop, servers: String? = nil, tryTimeout: Interval = .seconds(2)) {
        self.loop = loop
        var options = ares_options()
        // Unretained: c-ares calls back only from inside our own calls, and the channel goes in `close` or `deinit`.
        let mask = sl_ares_options(
            &options,
            { context, fd, readable, writable in
                guard let context else { return }
                let resolver = Unmanaged<Resolver>.fromOpaque(context).takeUnretainedValue()
                resolver.watch(fd, readable: readable != 0, writable: writable != 0)
            }, Unmanaged.passUnretained(self).toOpaque(), Int32(clamping: tryTimeout.milliseconds), 2)
        var status = Self.libraryStatus
        if status == ARES_SUCCESS { status = ares_init_options(&channel, &options, mask) }
        if status == ARES_SUCCESS, let servers { status = ares_set_servers_ports_csv(channel, servers) }
        if status != ARES_SUCCESS {
            setupFailure = .failed(servers ?? "resolv.conf", reason: String(cString: ares_strerror(status)))
            destroyChannel()
        }
    }

    deinit {
        // Without `close` the loop may be gone by now: destroying only closes sockets, since `sockets` is empty.
        sockets.removeAll()
        destroyChannel()
    }

    /// Looks up `host`: a name or an address. Addresses come in the order in which they should be tried (RFC 8305 §4).
    ///
    /// `completion` is called exactly once, on the loop's thread, at the end of this turn or of a later one: never from
    /// inside this call, even if the answer is known. It may call any method of the resolver.
    public func resolve(_ host: String, completion: @escaping Completion) {
        if let address = IPAddress(host) { return answer([completion], .success([address])) }
        guard let channel else { return answer([completion], .failure(setupFailure)) }
        let name = host.lowercased()
        // No host name has other bytes, and c-ares would stop reading at a NUL and look up another name than was meant.
        guard !name.isEmpty, name.utf8.count <= 254, name.utf8.allSatisfy({ $0 > 0x20 && $0 < 0x7F }) else {
            return answer([completion], .failure(.notFound(host)))
        }
        if let known = cache.answer(for: name, now: loop.now) { return answer([completion], known) }
        if let query = queries[name] {
            guard query.waiters.count < Self.waiterLimit.value else {
                return answer([completion], .failure(.limit(Self.waiterLimit)))
            }
            query.waiters.append(completion)
            return
        }
        guard queries.count < Self.queryLimit.value else {
            return answer([completion], .failure(.limit(Self.queryLimit)))
        }
        start(Query(name, completion, self), on: channel)
    }

    /// Ends all lookups with `.closed` and closes the sockets. Later lookups of names end the same way.
    public func close() {
        guard channel != nil else { return }
        destroyChannel()
        setupFailure = .closed
        cache.removeAll()
        loop.cancel(timer)
        timer = .none
    }

    private func destroyChannel() {
        guard let channel else { return }
        self.channel = nil
        ares_destroy(channel)
    }

    private func answer(_ waiters: [Completion], _ result: Result<[IPAddress], ResolverError>) {
        guard !waiters.isEmpty else { return }
        loop.afterTurn { for waiter in waiters { waiter(result) } }
    }

    // MARK: - One name

    /// A name that is being looked up, and who waits for it. c-ares holds it until it answers.
    private final class Query: TimerHandler {
        let name: String
        var waiters: [Completion]
        var timer = TimerID.none
        weak var resolver: Resolver?

        init(_ name: String, _ waiter: @escaping Completion, _ resolver: Resolver) {
            (self.name, waiters, self.resolver) = (name, [waiter], resolver)
        }

        func timerFired(_ timer: TimerID, on loop: EventLoop) {
            guard timer == self.timer else { return }
            resolver?.end(self, .failure(.timeout(name)), timeToLive: .zero)
        }
    }

    private func start(_ query: Query, on channel: ares_channel) {
        queries[query.name] = query
        let hasStale = cache.hasStale(query.name, now: loop.now)
        query.timer = loop.schedule(after: hasStale ? Self.staleDeadline : Self.deadline, handler: query)
        // c-ares sorts by RFC 6724, so that a family without a route comes last.
        var hints = ares_addrinfo_hints(ai_flags: 0, ai_family: AF_UNSPEC, ai_socktype: SL_STREAM, ai_protocol: 0)
        ares_getaddrinfo(
            channel, query.name, nil, &hints,
            { context, status, _, result in
                defer { if let result { ares_freeaddrinfo(result) } }
                guard let context else { return }
                let query = Unmanaged<Query>.fromOpaque(context).takeRetainedValue()
                query.resolver?.answered(query, status, result)
            }, Unmanaged.passRetained(query).toOpaque())
        setTimer()
    }

    private func answered(_ query: Query, _ status: Int32, _ result: UnsafeMutablePointer<ares_addrinfo>?) {
        guard status == ARES_SUCCESS, let result else {
            return end(query, .failure(Self.error(status, query.name)), timeToLive: .zero)
        }
        var addresses: [IPAddress] = []
        var seconds = Int32.max
        var node = result.pointee.nodes
        while let current = node {
            seconds = min(seconds, current.pointee.ai_ttl)
            if let address = Self.address(current.pointee) { addresses.append(address) }
            node = current.pointee.ai_next
        }
        var alias = result.pointee.cnames
        while let current = alias {
            seconds = min(seconds, current.pointee.ttl)
            alias = current.pointee.next
        }
        guard !addresses.isEmpty else { return end(query, .failure(.notFound(query.name)), timeToLive: .zero) }
        let timeToLive = Interval.seconds(UInt64(clamping: seconds))
        end(query, .success(ResolverCache.interleave(addresses)), timeToLive: timeToLive)
    }

    /// Tells the waiters, once: an answer after the deadline finds none and only refreshes the cache.
    private func end(_ query: Query, _ result: Result<[IPAddress], ResolverError>, timeToLive: Interval) {
        loop.cancel(query.timer)
        if queries[query.name] === query { queries[query.name] = nil }
        var result = result
        if channel != nil { result = cache.store(result, for: query.name, timeToLive: timeToLive, now: loop.now) }
        let waiters = query.waiters
        query.waiters = []
        answer(waiters, result)
    }

    private static func address(_ node: ares_addrinfo_node) -> IPAddress? {
        guard let source = node.ai_addr, Int(node.ai_addrlen) <= MemoryLayout<sockaddr_storage>.size else { return nil }
        var storage = sockaddr_storage()
        memcpy(&storage, source, Int(node.ai_addrlen))
        guard case .ip(let address, _) = SocketAddress(storage) else { return nil }
        return address
    }

    private static func error(_ status: Int32, _ name: String) -> ResolverError {
        switch status {
        case ARES_ENOTFOUND, ARES_ENODATA, ARES_EBADNAME: .notFound(name)
        case ARES_ETIMEOUT: .timeout(name)
        case ARES_EDESTRUCTION, ARES_ECANCELLED: .closed
        default: .failed(name, reason: String(cString: ares_strerror(status)))
        }
    }

    // MARK: - Sockets and time of c-ares

    /// One socket of c-ares, which opens and closes it.
    private final class Socket: EventHandler {
        let fd: Int32
        weak var resolver: Resolver?

        init(_ fd: Int32, _ resolver: Resolver) { (self.fd, self.resolver) = (fd, resolver) }

        func ready(_ readiness: Readiness, on loop: EventLoop) {
            // A fault of the socket shows when it is read.
            let isReadable = !readiness.isDisjoint(with: [.readable, .hangup, .error, .readClosed])
            resolver?.process(
                readable: isReadable ? fd : ARES_SOCKET_BAD,
                writable: readiness.contains(.writable) ? fd : ARES_SOCKET_BAD)
        }
    }

    private func watch(_ fd: Int32, readable: Bool, writable: Bool) {
        var interest: Readiness = []
        if readable { interest.insert(.readable) }
        if writable { interest.insert(.writable) }
        guard !interest.isEmpty else {
            if sockets.removeValue(forKey: fd) != nil { loop.unregister(fd) }
            return
        }
        // A socket that cannot be watched stays silent, and its query ends by c-ares' own timeout.
        if sockets[fd] != nil {
            try? loop.modify(fd, interest: interest)
        } else {
            let socket = Socket(fd, self)
            guard (try? loop.register(fd, interest: interest, handler: socket)) != nil else { return }
            sockets[fd] = socket
        }
    }

    private func process(readable: Int32, writable: Int32) {
        guard let channel else { return }
        ares_process_fd(channel, readable, writable)
        setTimer()
    }

    public func timerFired(_ timer: TimerID, on loop: EventLoop) {
        guard timer == self.timer else { return }
        self.timer = .none
        process(readable: ARES_SOCKET_BAD, writable: ARES_SOCKET_BAD)
    }

    private func setTimer() {
        loop.cancel(timer)
        timer = .none
        var time = timeval()
        guard let channel, ares_timeout(channel, nil, &time) != nil else { return }
        let milliseconds = UInt64(clamping: time.tv_sec) &* 1000 &+ UInt64(clamping: time.tv_usec) / 1000
        // From the clock itself, as c-ares counts, and a millisecond later, so that it finds the time past.
        timer = loop.schedule(at: EventLoop.clock() + .milliseconds(milliseconds &+ 1), handler: self)
    }
}
