/// Who is asked for the addresses of upstreams' names.
extension ConfigurationReader {
    func readNameServers(_ root: inout Section) -> [String] {
        guard var section = root.section("resolver") else { return [] }
        defer { section.finish() }
        guard let items = section.list("servers") else { return [] }
        return items.compactMap { node, path in
            guard let text = Scalars.text(node, path, context) else { return nil }
            if Self.isNumericAddress(text) { return text }
            context.report(node, path, "'\(text)' is not an IPv4 address or [v6], with or without :port")
            return nil
        }
    }

    private static func isNumericAddress(_ text: String) -> Bool {
        var host = Substring(text)
        if let colon = text.lastIndex(of: ":"), !text.hasSuffix("]") {
            guard let port = UInt16(text[text.index(after: colon)...]), port > 0 else { return false }
            host = text[..<colon]
        }
        if host.hasPrefix("["), host.hasSuffix("]") {
            let inner = host.dropFirst().dropLast()
            return inner.contains(":") && inner.utf8.allSatisfy { "0123456789abcdefABCDEF:.".utf8.contains($0) }
        }
        let parts = host.split(separator: ".", omittingEmptySubsequences: false)
        return parts.count == 4 && parts.allSatisfy { UInt8($0) != nil }
    }
}
