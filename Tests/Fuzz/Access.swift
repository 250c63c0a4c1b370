import SluiceBytes
import SluiceHTTP
import SluiceIO
import SluiceStreams

@testable import SluiceConfig
@testable import SluiceProxy

/// What clients show to be let in, and what others say that is read by the proxy itself: nothing traps, nobody comes in by
/// accident, and what is written over stays so, however it was cut.
@_cdecl("LLVMFuzzerTestOneInput")
public func fuzz(_ start: UnsafePointer<UInt8>?, _ count: Int) -> CInt {
    guard let input = FuzzInput(start, count) else { return 0 }
    switch input.variant % 8 {
    case 0: token(input.bytes)
    case 1: _ = try? JSONWebKey.set(input.bytes, for: JWTSpec.Algorithm.allCases)
    case 2: keyFile(input.bytes)
    case 3: forwarded(input.bytes)
    case 4: origin(input.bytes)
    case 5: fields(input.bytes)
    case 6: redis(input)
    default: redaction(input)
    }
    return 0
}

private let secret = Array("a secret of at least thirty-two bytes, for HS256".utf8)

/// Whoever is let in has shown the code of just these bytes, and a time that has not passed.
private func token(_ bytes: [UInt8]) {
    let spec = JWTSpec(algorithms: [.hs256], keys: .secret(Secret("")))
    guard let key = try? SignatureKey(secret: secret),
        let verifier = try? JWTVerifier(spec, keys: [JSONWebKey(key: key, isOnly: true)]),
        let claims = try? verifier.verify(bytes, at: 1_700_000_000)
    else { return }
    let parts = bytes.split(separator: UInt8(ascii: "."), omittingEmptySubsequences: false)
    let message = Array(bytes[..<parts[1].endIndex])
    let code = try? Digest.hmacSHA256(key: secret.span, message.span)
    require(parts.count == 3 && code == Base64URL.decode(parts[2]), "a token without its code is let in")
    require(!claims.subject.isEmpty, "a token of nobody")
}

private func keyFile(_ bytes: [UInt8]) {
    let file = APIKeyFile(bytes)
    let lines = bytes.count { $0 == ASCII.lf } + 1
    for fault in file.faults {
        require((1...lines).contains(fault.line), "a fault in line \(fault.line) of \(lines)")
        // Somebody may have put a key there in place of its hash.
        require(fault.message.utf8.count < 200, "a fault that repeats the line")
    }
    let table = APIKeyTable(file.keys)
    if case .known = table.look(up: bytes, at: 1_700_000_000) { require(false, "a key file is a key") }
    for key in file.keys { require(key.hash.count == Digest.sha256Count, "a hash of \(key.hash.count) bytes") }
}

private func forwarded(_ bytes: [UInt8]) {
    guard let proxies = try? TrustedProxies(["10.0.0.0/8", "2001:db8::/32", "unix"]) else { return }
    var head = HeaderFields()
    for line in String(decoding: bytes, as: UTF8.self).split(separator: "\n") {
        head.append("X-Forwarded-For", String(line))
    }
    for peer in ["10.0.0.1:1", "192.0.2.1:1", "[2001:db8::1]:1"].compactMap({ SocketAddress($0) }) {
        let client = proxies.client(of: peer, head)
        require(client != nil, "a peer without an address")
        if peer.addressText == "192.0.2.1" { require(client?.description == "192.0.2.1", "a stranger is believed") }
    }
    _ = proxies.client(of: .unix(""), head)
}

/// A page is let in only by its whole origin.
private func origin(_ bytes: [UInt8]) {
    var spec = CORSSpec()
    spec.origins = ["https://app.example.com", "https://*.example.org"].compactMap { OriginPattern($0) }
    require(spec.origins.count == 2, "patterns")
    spec.allowsCredentials = true
    let policy = CORSPolicy(spec, routeMethods: ["POST"])
    var head = RequestHead(method: "OPTIONS", target: "/", authority: "a")
    let text = String(decoding: bytes, as: UTF8.self).filter { $0 != "\n" && $0 != "\r" && $0 != "\r\n" && $0 != "\0" }
    head.fields.append("Origin", text)
    head.fields.append("Access-Control-Request-Method", "POST")
    head.fields.append("Access-Control-Request-Headers", text)
    guard policy.allows(head) else { return }
    _ = policy.preflight(head)
    if text == "https://app.example.com" { return }
    let label = text.dropFirst("https://".count).dropLast(".example.org".count)
    require(text.hasPrefix("https://") && text.hasSuffix(".example.org"), "let in: \(text)")
    require(
        !label.isEmpty && label.allSatisfy { $0.isASCII && ($0.isLetter || $0.isNumber || "-_".contains($0)) },
        "\(text)")
}

private func fields(_ bytes: [UInt8]) {
    let text = String(decoding: bytes, as: UTF8.self)
    if let trace = TraceContext(text) {
        let child = trace.child(span: "00f067aa0ba902b7")
        require(TraceContext(child)?.traceID == trace.traceID, "a trace is not continued: \(child)")
    }
    var fields = HeaderFields()
    for name in ["Retry-After", "retry-after-ms"] {
        fields.append(name, text)
        // A date may be thousands of years ahead, which is as good as never.
        if let wait = RetryAfter.read(fields, unixTime: 1_700_000_000), text.utf8.allSatisfy(ASCII.isDigit) {
            require(
                wait > .zero || text.utf8.allSatisfy { $0 == 0x30 } || name == "retry-after-ms", "no wait for \(text)")
        }
    }
    let target = RequestTarget(text)
    if let path = target.normalizedPath {
        require(path.hasPrefix("/") && !path.contains("/../") && !path.hasSuffix("/.."), "path \(path)")
    }
    _ = target.value(named: "key")
    cookies(text)
}

/// A value of the cookie stands in the field, and no longer once it has been taken out.
private func cookies(_ text: String) {
    let cookie = CookieCredentials("key")
    var fields = HeaderFields()
    fields.append("Cookie", text)
    let values = cookie.values(in: fields)
    for value in values { require(holds(Array(text.utf8), value), "a cookie that nobody sent") }
    fields = HeaderFields()
    if let rest = cookie.stripped(Array(text.utf8), where: { _ in true }) {
        fields.append("Cookie", String(decoding: rest, as: UTF8.self))
    }
    require(cookie.values(in: fields).isEmpty, "a cookie that was taken out is still there: \(text)")
    var head = RequestHead(method: "GET", target: "/", authority: "chat.example.com")
    head.fields.append("Origin", text)
    if CookieCredentials.mayBeUsed(head, isTLS: true, cors: nil) {
        require(text.hasPrefix("https://chat.example.com"), "a foreign page: \(text)")
    }
}

/// However the replies of a Redis are cut, they are the same, and what was read is written again as it was.
private func redis(_ input: FuzzInput) {
    var limits = RESPParser.Limits()
    limits.replyBytes = Limit("reply", 4096)
    limits.depth = Limit("depth", 3)
    let traces = [input.whole, input.halves, input.bytes.map { [$0] }].map { pieces -> [String] in
        var parser = RESPParser(limits: limits)
        var values: [RESPValue] = []
        do throws(RESPError) {
            for piece in pieces { try parser.feed(piece.span, into: &values) }
        } catch {
            return values.map { "\($0)" } + ["\(error)"]
        }
        for value in values { writeAgain(value) }
        return values.map { "\($0)" } + ["open: \(parser.isInside)"]
    }
    requireEqual(traces[0], traces[1], "cut")
    requireEqual(traces[0], traces[2], "bytes")
}

private func writeAgain(_ value: RESPValue) {
    guard case .array(let parts) = value, !parts.isEmpty else { return }
    let arguments = parts.compactMap { part -> RESPArgument? in
        if case .bulk(let bytes) = part { return .bytes(bytes) }
        return nil
    }
    guard arguments.count == parts.count else { return }
    var out = ByteQueue()
    out.appendCommand(arguments)
    var parser = RESPParser()
    var values: [RESPValue] = []
    try? parser.feed(out.span, into: &values)
    require(values == [value] && !parser.isInside, "a command is read as another")
}

private func redaction(_ input: FuzzInput) {
    let secrets = ["sk-abcdefgh", "abcdefghijkl", "aaaaaab", "https://internal/"]
    let traces = [input.whole, input.halves].map { pieces in
        var redactor = Redactor(secrets)
        var out = ByteQueue()
        for piece in pieces { redactor.feed(piece.span, into: &out) }
        redactor.finish(into: &out)
        return out.withUnsafeBytes { Array($0) }
    }
    require(traces[0].count == input.bytes.count && traces[1].count == input.bytes.count, "a length has changed")
    for trace in traces {
        for secret in secrets { require(!holds(trace, Array(secret.utf8)), "\(secret) is still there") }
    }
}
