import SluiceBytes
import SluiceStreams

extension ConfigurationReader {
    func readUpstreams(_ root: inout Section, _ dialects: [String: CustomDialect]) -> [UpstreamSpec]? {
        guard let section = root.section("upstreams") else {
            if root.value("upstreams") == nil { root.missing("upstreams") }
            return nil
        }
        let specs: [UpstreamSpec] = section.entries.compactMap { name, _, value in
            guard var upstream = Section(value, path: section.path(of: name), context: context) else { return nil }
            let spec = readUpstream(name, &upstream, dialects)
            upstream.finish()
            return spec
        }
        checkProcesses(specs, section)
        return specs
    }

    private func readUpstream(
        _ name: String, _ section: inout Section, _ dialects: [String: CustomDialect]
    ) -> UpstreamSpec? {
        let places = readPlaces(&section)
        var spec = UpstreamSpec(name: name, url: places.first?.url ?? UpstreamURL(isTLS: false, host: "", port: 80))
        if !places.isEmpty { spec.places = places }
        if let wire = readWire(&section, dialects) { spec.wire = wire }
        if let node = section.value("api_key") {
            spec.apiKey = Scalars.secret(node, section.path(of: "api_key"), context)
        }
        if let headers = section.section("headers") { spec.headers = readHeaders(headers) }
        readAWS(&section, &spec)
        if var tls = section.section("tls") { spec.tls = readTLS(&tls) }
        spec.http = section.choice("http", UpstreamSpec.HTTPVersion.self) ?? spec.http
        if var keepalive = section.section("keepalive") { spec.keepalive = readKeepalive(&keepalive) }
        if var timeouts = section.section("timeouts") { spec.timeouts = readTimeouts(&timeouts) }
        if var retries = section.section("retries") { spec.retries = readRetries(&retries) }
        readBalance(&section, &spec)
        if var process = section.section("process") {
            spec.process = readProcess(&process, places.first?.url)
            if places.count > 1 {
                context.report(process.node, process.path, "a process is one place: give url, not urls")
            }
        }
        return spec
    }

    /// Bedrock without an API key is signed for, whether or not it has an `aws` section.
    private func readAWS(_ section: inout Section, _ spec: inout UpstreamSpec) {
        let isBedrock = spec.wire == .dialect(.bedrockConverse) || spec.wire == .dialect(.bedrockInvoke)
        if isBedrock, spec.apiKey == nil { spec.aws = AWSSpec() }
        guard var keys = section.section("aws") else { return }
        if !isBedrock {
            context.report(
                keys.node, section.path(of: "aws"), "only the dialects bedrock-converse and bedrock-invoke are signed")
        } else if spec.apiKey != nil {
            context.report(keys.node, section.path(of: "aws"), "give api_key or aws, not both")
        }
        var aws = AWSSpec()
        aws.region = keys.string("region")
        aws.accessKeyID = keys.string("access_key_id")
        if let node = keys.value("secret_access_key") {
            aws.secretAccessKey = Scalars.secret(node, keys.path(of: "secret_access_key"), context)
        }
        if let node = keys.value("session_token") {
            aws.sessionToken = Scalars.secret(node, keys.path(of: "session_token"), context)
        }
        aws.profile = keys.string("profile")
        aws.credentialsFile = keys.string("credentials_file").map(context.absolute)
        if (aws.accessKeyID == nil) != (aws.secretAccessKey == nil) {
            keys.missing(aws.accessKeyID == nil ? "access_key_id" : "secret_access_key")
        }
        keys.finish()
        spec.aws = aws
    }

    private func readWire(_ section: inout Section, _ dialects: [String: CustomDialect]) -> UpstreamSpec.Wire? {
        guard let name = section.requiredString("dialect"), let node = section.value("dialect") else { return nil }
        if let dialect = Dialect(rawValue: name) { return .dialect(dialect) }
        if let custom = dialects[name] { return .custom(custom) }
        let choices = Dialect.allCases.map(\.rawValue) + dialects.keys.sorted()
        context.report(node, section.path(of: "dialect"), Names.notOneOf(name, choices))
        return nil
    }

    func readHeaders(_ section: Section) -> [(name: String, value: Secret)] {
        section.entries.compactMap { name, keyNode, value in
            let path = section.path(of: name)
            guard checkHeader(name, keyNode, path), let secret = Scalars.secret(value, path, context) else {
                return nil
            }
            return (name: name, value: secret)
        }
    }

    /// A field name that Sluice does not write itself (RFC 9110 §5.1).
    func checkHeader(_ name: String, _ node: YAMLNode, _ path: String) -> Bool {
        let own = ["host", "content-length", "transfer-encoding", "connection", "upgrade", "te", "trailer"]
        let isToken =
            !name.isEmpty
            && name.utf8.allSatisfy { byte in
                byte > 0x20 && byte < 0x7F && !"\"(),/:;<=>?@[\\]{}".utf8.contains(byte)
            }
        if !isToken { context.report(node, path, "'\(name)' is no field name") }
        if own.contains(name.lowercased()) { context.report(node, path, "this field is written by Sluice itself") }
        return isToken && !own.contains(name.lowercased())
    }

    func readTLS(_ section: inout Section) -> ClientTLSSpec {
        var tls = ClientTLSSpec()
        tls.ca = section.string("ca").map(context.absolute)
        tls.serverName = section.string("server_name")
        tls.verify = section.bool("verify") ?? true
        tls.certificate = section.string("certificate").map(context.absolute)
        tls.privateKey = section.string("private_key").map(context.absolute)
        if tls.certificate != nil, tls.privateKey == nil { section.missing("private_key") }
        if tls.certificate == nil, tls.privateKey != nil { section.missing("certificate") }
        section.finish()
        return tls
    }

    private func readKeepalive(_ section: inout Section) -> KeepaliveSpec {
        var keepalive = KeepaliveSpec()
        keepalive.interval = section.duration("interval") ?? keepalive.interval
        keepalive.timeout = section.duration("timeout") ?? keepalive.timeout
        section.finish()
        return keepalive
    }

    private func readTimeouts(_ section: inout Section) -> Timeouts {
        var timeouts = Timeouts()
        timeouts.connect = section.duration("connect") ?? timeouts.connect
        timeouts.headers = section.duration("headers") ?? timeouts.headers
        timeouts.firstToken = section.duration("first_token") ?? timeouts.firstToken
        timeouts.idle = section.duration("idle") ?? timeouts.idle
        timeouts.total = section.duration("total") ?? timeouts.total
        section.finish()
        return timeouts
    }
}

extension UpstreamURL {
    /// `text` for a fault: who mistakes a URL's form may have put a password or a key into it.
    static func withoutSecrets(_ text: String) -> String {
        var shown = Substring(text)
        var tail = ""
        if let mark = shown.firstIndex(where: { $0 == "?" || $0 == "#" }) {
            tail = "\(shown[mark])***"
            shown = shown[..<mark]
        }
        guard let at = shown.lastIndex(of: "@") else { return shown + tail }
        let slashes = shown.firstRange(of: "://")?.upperBound ?? shown.startIndex
        return (slashes < at ? shown[..<slashes] : "") + "***" + shown[at...] + tail
    }

    /// nil for what is no `http(s)` URL, or has a user, a query or a fragment in it.
    public init?(_ text: String) {
        if text.hasPrefix("unix:/") {
            self.init(isTLS: false, host: "", port: 0, unixPath: String(text.dropFirst(5)))
            return
        }
        let isTLS = text.hasPrefix("https://")
        guard isTLS || text.hasPrefix("http://") else { return nil }
        let rest = text.dropFirst(isTLS ? 8 : 7)
        guard rest.utf8.allSatisfy({ $0 > 0x20 && $0 < 0x7F }), !rest.contains("?"), !rest.contains("#") else {
            return nil
        }
        let slash = rest.firstIndex(of: "/") ?? rest.endIndex
        var path = String(rest[slash...])
        while path.hasSuffix("/") { path.removeLast() }
        guard let (host, port) = Self.authority(rest[..<slash], defaultPort: isTLS ? 443 : 80) else { return nil }
        self.init(isTLS: isTLS, host: host, port: port, basePath: path)
    }

    private static func authority(_ text: Substring, defaultPort: Int) -> (String, Int)? {
        var (host, port) = (text, Substring(""))
        if text.hasPrefix("["), let end = text.firstIndex(of: "]") {
            host = text[text.index(after: text.startIndex)..<end]
            port = text[text.index(after: end)...]
            guard host.contains(":"), port.isEmpty || port.hasPrefix(":") else { return nil }
            port = port.dropFirst()
        } else if let colon = text.firstIndex(of: ":") {
            host = text[..<colon]
            port = text[text.index(after: colon)...]
            guard !port.isEmpty else { return nil }
        }
        guard !host.isEmpty, !host.contains("@"), !host.contains("[") else { return nil }
        if port.isEmpty { return (String(host), defaultPort) }
        guard let number = UInt16(port), number > 0 else { return nil }
        return (String(host), Int(number))
    }
}
