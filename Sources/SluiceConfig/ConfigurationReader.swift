import SluiceBytes
import SluiceStreams

/// The top level of the file, and what has no file of its own.
struct ConfigurationReader {
    let context: ReadingContext

    /// nil if something required is missing; the faults are in `context`.
    func read(_ root: inout Section) -> Configuration? {
        let listeners = readListeners(&root)
        let dialects = readDialects(&root)
        let upstreams = readUpstreams(&root, dialects)
        let routes = readRoutes(&root, upstreams)
        let limits = readLimits(&root)
        let log = readLog(&root)
        let workers = readWorkers(&root)
        let drainTimeout = root.duration("drain_timeout") ?? .seconds(600)
        let admin = readAdmin(&root)
        let revealsUpstream = readErrors(&root)
        let nameServers = readNameServers(&root)
        let drainDelay = root.duration("drain_delay") ?? .zero
        let access = readAccess(&root)
        let redis = readRedis(&root)
        let probe = readProbe(&root)
        let tracing = readTracing(&root)
        root.finish()
        guard let listeners, let upstreams, let routes else { return nil }
        var configuration = Configuration(
            listeners: listeners, workers: workers, limits: limits, log: log, upstreams: upstreams, routes: routes,
            drainTimeout: drainTimeout)
        (configuration.admin, configuration.revealsUpstream) = (admin, revealsUpstream)
        configuration.nameServers = nameServers
        (configuration.drainDelay, configuration.files) = (drainDelay, context.files.sorted())
        (configuration.auth, configuration.cors) = (access.auth, access.cors)
        (configuration.rateLimits, configuration.trustedProxies) = (access.rateLimits, access.trustedProxies)
        (configuration.redis, configuration.probe) = (redis, probe)
        (configuration.tracing, configuration.warnings) = (tracing.spec, tracing.warnings)
        checkRedis(&root, configuration)
        checkCertificates(&root, configuration)
        return configuration
    }

    private func readWorkers(_ root: inout Section) -> Int? {
        guard let node = root.value("workers"), let text = Scalars.text(node, "workers", context), text != "auto" else {
            return nil
        }
        return root.integer("workers", 1...1024)
    }

    private func readLog(_ root: inout Section) -> LogSpec {
        var log = LogSpec()
        guard var section = root.section("log") else { return log }
        log.level = section.choice("level", LogSpec.Level.self) ?? log.level
        log.format = section.choice("format", LogSpec.Format.self) ?? log.format
        log.access = section.bool("access") ?? log.access
        log.content = section.choice("content", LogSpec.Content.self) ?? log.content
        section.finish()
        return log
    }

    private func readLimits(_ root: inout Section) -> Limits {
        var limits = Limits()
        guard var section = root.section("limits") else { return limits }
        func set(_ key: String, _ path: WritableKeyPath<Limits, Int>, atLeast minimum: Int = 1) {
            guard let value = section.size(key) else { return }
            if value < minimum, let node = section.value(key) {
                context.report(node, section.path(of: key), "must be at least \(minimum)")
            }
            limits[keyPath: path] = value
        }
        func set(_ key: String, _ path: WritableKeyPath<Limits, Interval>) {
            guard let value = section.duration(key) else { return }
            limits[keyPath: path] = value
        }
        set("request_head_bytes", \.requestHeadBytes, atLeast: 256)
        set("request_fields", \.requestFields)
        set("target_bytes", \.targetBytes, atLeast: 64)
        set("upstream_head_bytes", \.upstreamHeadBytes, atLeast: 256)
        set("upstream_fields", \.upstreamFields)
        set("request_body_bytes", \.requestBodyBytes)
        set("chunk_extension_bytes", \.chunkExtensionBytes, atLeast: 0)
        set("stream_buffer_high_bytes", \.streamBufferHighBytes)
        set("stream_buffer_low_bytes", \.streamBufferLowBytes, atLeast: 0)
        set("event_bytes", \.eventBytes, atLeast: 1024)
        set("step_output_bytes", \.stepOutputBytes)
        set("handshake_timeout", \.handshakeTimeout)
        set("request_head_timeout", \.requestHeadTimeout)
        set("request_body_timeout", \.requestBodyTimeout)
        set("client_idle_timeout", \.clientIdleTimeout)
        set("upstream_idle_timeout", \.upstreamIdleTimeout)
        set("slow_client", \.slowClient)
        set("ping_timeout", \.pingTimeout)
        set("http2_streams", \.http2Streams)
        set("http2_stream_window_bytes", \.http2StreamWindowBytes, atLeast: 1024)
        set("http2_connection_window_bytes", \.http2ConnectionWindowBytes, atLeast: 65_535)
        set("http2_resets", \.http2Resets)
        set("http2_resets_per_second", \.http2ResetsPerSecond)
        set("upstream_receive_buffer_bytes", \.upstreamReceiveBufferBytes, atLeast: 4096)
        set("client_unsent_bytes", \.clientUnsentBytes, atLeast: 4096)
        set("request_body_rate", \.requestBodyRate, atLeast: 0)
        set("connections", \.connections)
        set("connections_per_address", \.connectionsPerAddress, atLeast: 0)
        if let bytes = section.size("buffered_bytes") {
            limits.bufferedBytes = bytes
            if bytes < 1 << 20, let node = section.value("buffered_bytes") {
                context.report(node, section.path(of: "buffered_bytes"), "must be at least 1MiB")
            }
        }
        set("resume_buffers", \.resumeBuffers, atLeast: 0)
        set("tasks", \.tasks, atLeast: 0)
        set("idle_upstream_connections", \.idleUpstreamConnections, atLeast: 0)
        if limits.streamBufferLowBytes >= limits.streamBufferHighBytes {
            context.report(
                section.node, section.path, "stream_buffer_low_bytes must be below stream_buffer_high_bytes")
        }
        section.finish()
        return limits
    }

    // MARK: - Listeners

    func readListeners(_ root: inout Section) -> [ListenerSpec]? {
        guard let items = root.list("listeners") else {
            if root.value("listeners") == nil { root.missing("listeners") }
            return nil
        }
        if items.isEmpty { context.report(root.node, "listeners", "must name at least one address") }
        return items.compactMap { node, path in
            guard var section = Section(node, path: path, context: context) else { return nil }
            let address = section.requiredString("address")
            if let address, let node = section.value("address"), !Self.isAddress(address) {
                let wanted = "host:port, [v6]:port, :port, unix:/path or systemd:NAME"
                context.report(node, section.path(of: "address"), "'\(address)' is not \(wanted)")
            }
            var tls: ServerTLSSpec?
            if var settings = section.section("tls") { tls = readServerTLS(&settings) }
            section.finish()
            return address.map { ListenerSpec(address: $0, tls: tls) }
        }
    }

    /// Numbers only: a listener's address is not looked up.
    static func isAddress(_ text: String) -> Bool {
        if text.hasPrefix("unix:") { return text.utf8.count > 5 && text.utf8.count < 112 }
        if text.hasPrefix("systemd:") { return text.utf8.count > 8 }
        guard let colon = text.lastIndex(of: ":"), UInt16(text[text.index(after: colon)...]) != nil else {
            return false
        }
        let host = text[..<colon]
        if host.hasPrefix("[") { return host.hasSuffix("]") && host.contains(":") }
        if host.isEmpty || host == "localhost" { return true }
        let parts = host.split(separator: ".", omittingEmptySubsequences: false)
        return parts.count == 4 && parts.allSatisfy { UInt8($0) != nil }
    }

    private func readServerTLS(_ section: inout Section) -> ServerTLSSpec? {
        var certificates: [ServerTLSSpec.Certificate] = []
        if let items = section.list("certificates") {
            certificates = items.compactMap { node, path in
                guard var pair = Section(node, path: path, context: context) else { return nil }
                let certificate = readCertificate(&pair, isRequired: true)
                pair.finish()
                return certificate
            }
        }
        if let own = readCertificate(&section, isRequired: certificates.isEmpty) { certificates.insert(own, at: 0) }
        var tls = ServerTLSSpec(certificates: certificates)
        tls.clientCA = section.string("client_ca").map(context.absolute)
        tls.requireClientCertificate = section.bool("require_client_certificate") ?? false
        if let version = section.string("minimum_version") {
            if ["1.2", "1.3"].contains(version) {
                tls.minimumVersion = version
            } else if let node = section.value("minimum_version") {
                context.report(node, section.path(of: "minimum_version"), Names.notOneOf(version, ["1.2", "1.3"]))
            }
        }
        if tls.requireClientCertificate, tls.clientCA == nil { section.missing("client_ca") }
        section.finish()
        return certificates.isEmpty ? nil : tls
    }

    private func readCertificate(_ section: inout Section, isRequired: Bool) -> ServerTLSSpec.Certificate? {
        let certificate = section.string("certificate")
        let key = section.string("private_key")
        if isRequired || certificate != nil || key != nil {
            if certificate == nil { section.missing("certificate") }
            if key == nil { section.missing("private_key") }
        }
        guard let certificate, let key else { return nil }
        return .init(certificate: context.absolute(certificate), privateKey: context.absolute(key))
    }

    // MARK: - Dialects

    private func readDialects(_ root: inout Section) -> [String: CustomDialect] {
        guard let section = root.section("dialects") else { return [:] }
        var result: [String: CustomDialect] = [:]
        for (name, keyNode, value) in section.entries {
            let path = section.path(of: name)
            if Dialect(rawValue: name) != nil {
                context.report(keyNode, path, "this is the name of a built-in dialect")
            }
            guard var dialect = Section(value, path: path, context: context) else { continue }
            let framing = dialect.choice("framing", CustomDialect.Framing.self) ?? .sse
            let text = dialect.requiredString("text")
            let finish = dialect.string("finish")
            let error = dialect.string("error")
            let done = dialect.string("done")
            if finish == nil, done == nil, dialect.value("finish") == nil {
                context.report(
                    value, path, "needs 'finish' or 'done': without either, no end could be told from a cut")
            }
            dialect.finish()
            guard let text else { continue }
            result[name] = CustomDialect(framing: framing, text: text, finish: finish, error: error, done: done)
        }
        return result
    }
}
