import Glibc
import SluiceBytes
import SluiceConfig
import SluiceHTTP

/// Overwrites secrets in text that others wrote: a provider that refuses a key may quote it. Each byte of one becomes `*`, so
/// that lengths hold. Made where an upstream has failed, never on a token's way.
struct Redactor {
    /// Longest first, so that of two that begin alike the longer one goes.
    private let secrets: [[UInt8]]
    /// The end of what was fed, as far as it may be the beginning of a secret.
    private var held: [UInt8] = []

    /// Shorter ones are words of every text.
    private static let least = 6

    init(_ texts: some Sequence<String>) {
        var secrets: Set<[UInt8]> = []
        for text in texts where text.utf8.count >= Self.least {
            secrets.insert(Array(text.utf8))
            // As JSON may have it.
            if text.utf8.contains(UInt8(ascii: "/")) {
                secrets.insert(Array(text.replacing("/", with: "\\/").utf8))
            }
        }
        self.secrets = secrets.sorted { $0.count > $1.count }
    }

    func redact(_ text: String) -> String {
        var bytes = Array(text.utf8)
        let found = bytes.withUnsafeMutableBufferPointer { redact($0) }
        return found ? String(decoding: bytes, as: UTF8.self) : text
    }

    /// True if there was one.
    @discardableResult
    func redact(_ bytes: UnsafeMutableBufferPointer<UInt8>) -> Bool {
        guard let base = bytes.baseAddress else { return false }
        var isFound = false
        for secret in secrets {
            var start = 0
            while start + secret.count <= bytes.count,
                let first = memchr(base + start, Int32(secret[0]), bytes.count - secret.count - start + 1)
            {
                let offset = UnsafeMutableRawPointer(base).distance(to: first)
                start = offset + 1
                guard memcmp(first, secret, secret.count) == 0 else { continue }
                (base + offset).update(repeating: UInt8(ascii: "*"), count: secret.count)
                start = offset + secret.count
                isFound = true
            }
        }
        return isFound
    }

    // MARK: - Piece by piece

    /// Appends what can be told to hold no part of a secret; the rest waits for what follows it.
    mutating func feed(_ bytes: Span<UInt8>, into out: inout ByteQueue) {
        var text: [UInt8] = []
        swap(&text, &held)
        bytes.withUnsafeBufferPointer { text.append(contentsOf: $0) }
        text.withUnsafeMutableBufferPointer { _ = redact($0) }
        let told = text.count - openingAtEnd(of: text)
        out.append(text.span.extracting(0..<told))
        held = Array(text[told...])
    }

    mutating func finish(into out: inout ByteQueue) {
        out.append(held)
        held.removeAll()
    }

    /// How many bytes at the end of `text` are the beginning of some secret.
    private func openingAtEnd(of text: [UInt8]) -> Int {
        var longest = 0
        for secret in secrets {
            for count in stride(from: min(secret.count - 1, text.count), to: longest, by: -1)
            where text.suffix(count).elementsEqual(secret.prefix(count)) {
                longest = count
                break
            }
        }
        return longest
    }
}

extension Redactor {
    /// Fields that hold no secret, but for what is a secret itself.
    private static let plainFields: Set<String> = [
        "accept", "content-type", "user-agent", "anthropic-version", "anthropic-beta", "openai-beta",
        "openai-organization", "openai-project", "http-referer", "x-title",
    ]

    /// What this upstream knows of us and nobody else should.
    static func secrets(of spec: UpstreamSpec, route: Route?) -> [String] {
        var secrets: [String] = []
        if let key = spec.apiKey { secrets.append(key.revealed) }
        for (name, value) in spec.headers where !plainFields.contains(name.lowercased()) {
            secrets += parts(value.revealed)
        }
        if let aws = spec.aws {
            secrets += [aws.accessKeyID, aws.secretAccessKey?.revealed, aws.sessionToken?.revealed].compactMap { $0 }
        }
        if let query = route?.upstreamPath.flatMap({ RequestTarget($0).query }) {
            for pair in query.split(separator: "&") {
                let parts = pair.split(separator: "=", maxSplits: 1)
                if parts.count == 2, isSecretName(String(parts[0])) { secrets.append(String(parts[1])) }
            }
        }
        return secrets
    }

    /// What the client showed for itself.
    static func secrets(of fields: HeaderFields) -> [String] {
        let names: [StaticString] = ["authorization", "x-api-key", "api-key", "x-goog-api-key", "cookie"]
        return (0..<fields.count).filter { index in
            names.contains { ASCII.equalFolded(fields.name(at: index), $0) }
        }.flatMap { parts(fields.valueString(at: $0)) }
    }

    /// Where it stands. A name of one word may be a word of the text as well, so that only its port tells.
    static func places(of url: UpstreamURL) -> [String] {
        if let path = url.unixPath { return [path] }
        let isTelling = url.host.contains(".") || url.host.contains(":")
        return ["\(url.host):\(url.port)", url.authority] + (isTelling ? [url.host] : [])
    }

    /// `Bearer x`: both, since either may be quoted. Cookies one by one.
    private static func parts(_ value: String) -> [String] {
        [value]
            + value.split { $0 == " " || $0 == ";" }.flatMap { part -> [String] in
                let whole = String(part)
                guard let equals = whole.firstIndex(of: "=") else { return [whole] }
                return [whole, String(whole[whole.index(after: equals)...])]
            }
    }

    /// Of a query's parameter.
    static func isSecretName(_ name: String) -> Bool {
        let name = name.lowercased()
        return ["key", "token", "secret", "password", "sig", "signature", "auth", "credential"].contains { word in
            name == word || name.hasSuffix(word) || name.hasPrefix(word)
        }
    }
}
