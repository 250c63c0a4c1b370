import SluiceBytes

extension HeaderFields {
    /// The fields that may cross a proxy (RFC 9110 §7.6.1).
    ///
    /// Left out are: the fields that `Connection` names; `connection`, `keep-alive`, `te`, `trailer`,
    /// `transfer-encoding`, `upgrade`, `http2-settings` and every `proxy-…`; and what each hop writes itself:
    /// `content-length`, `expect` and `host` (the head carries it as `authority`).
    public func endToEnd() -> HeaderFields {
        let named = connectionOptions()
        return filtered { index in
            let name = name(at: index)
            return !Self.isHopByHop(name) && !named.contains { Self.equal(name, $0) }
        }
    }

    /// Whether a hop writes, or must drop, a field of this name, whatever `Connection` says.
    static func isHopByHop(_ name: Span<UInt8>) -> Bool {
        switch name.count {
        case 2: return ASCII.equalFolded(name, "te")
        case 4: return ASCII.equalFolded(name, "host")
        case 6: return ASCII.equalFolded(name, "expect")
        case 7 where ASCII.equalFolded(name, "trailer") || ASCII.equalFolded(name, "upgrade"): return true
        case 10 where ASCII.equalFolded(name, "connection") || ASCII.equalFolded(name, "keep-alive"): return true
        case 14 where ASCII.equalFolded(name, "content-length") || ASCII.equalFolded(name, "http2-settings"):
            return true
        case 17 where ASCII.equalFolded(name, "transfer-encoding"): return true
        default: return name.count > 6 && ASCII.equalFolded(name.extracting(0..<6), "proxy-")
        }
    }

    /// The options of all `Connection` fields that could be field names, in lower case.
    private func connectionOptions() -> [[UInt8]] {
        var options: [[UInt8]] = []
        for index in 0..<count where ASCII.equalFolded(name(at: index), "connection") {
            HTTP1Grammar.forEachElement(value(at: index)) { option in
                if ASCII.equalFolded(option, "close") || ASCII.equalFolded(option, "keep-alive") { return }
                options.append(option.indices.map { ASCII.lowercase(option[$0]) })
            }
        }
        return options
    }

    private static func equal(_ name: Span<UInt8>, _ lowered: [UInt8]) -> Bool {
        guard name.count == lowered.count else { return false }
        for index in name.indices where ASCII.lowercase(name[index]) != lowered[index] { return false }
        return true
    }
}
