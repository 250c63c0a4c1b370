import SluiceBytes

extension ConfigurationReader {
    func readRedis(_ root: inout Section) -> RedisSpec? {
        guard var section = root.section("redis") else { return nil }
        defer { section.finish() }
        let text = section.requiredString("url")
        let spec = text.flatMap { RedisSpec(url: $0) }
        if let text, spec == nil, let node = section.value("url") {
            let shown = UpstreamURL.withoutSecrets(text)
            context.report(
                node, section.path(of: "url"),
                "'\(shown)' is not a URL such as redis://user:password@host:6379/0 or rediss://host")
        }
        var read = RedisSpec(host: "")
        read.prefix = section.string("prefix") ?? read.prefix
        if read.prefix.utf8.contains(where: { $0 <= 0x20 || $0 >= 0x7F || "{}".utf8.contains($0) }),
            let node = section.value("prefix")
        {
            context.report(node, section.path(of: "prefix"), "must be visible ASCII without braces")
        }
        if var timeouts = section.section("timeouts") {
            read.connectTimeout = readTimeout("connect", &timeouts) ?? read.connectTimeout
            read.replyTimeout = readTimeout("reply", &timeouts) ?? read.replyTimeout
            timeouts.finish()
        }
        if var tls = section.section("tls") {
            read.tls = readTLS(&tls)
            if let spec, !spec.isTLS {
                context.report(tls.node, tls.path, "is heeded only where the url begins with rediss://")
            }
        }
        guard let spec else { return nil }
        (read.host, read.port, read.isTLS) = (spec.host, spec.port, spec.isTLS)
        (read.user, read.password, read.database) = (spec.user, spec.password, spec.database)
        return read
    }

    func checkRedis(_ root: inout Section, _ configuration: Configuration) {
        guard configuration.redis == nil, root.value("redis") == nil,
            let route = configuration.routes.first(where: { $0.resume?.store == .redis })
        else { return }
        context.report(root.node, "redis", "is required, since \(route.label) has resume.store: redis")
    }

    /// Nothing may wait for ever here.
    private func readTimeout(_ key: String, _ section: inout Section) -> Interval? {
        guard let value = section.duration(key) else { return nil }
        if value == .zero, let node = section.value(key) {
            context.report(node, section.path(of: key), "must be longer than 0")
        }
        return value
    }
}
