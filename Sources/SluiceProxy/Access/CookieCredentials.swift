import SluiceBytes
import SluiceHTTP

/// Credentials in a cookie: for pages that cannot set a field, as with `EventSource`.
///
/// A browser sends a cookie along with whatever any page asks for. So it counts only for a request that comes, as the browser itself
/// says, from a page of this origin or of one whose pages the route's `cors` allows to use a visitor's credentials.
struct CookieCredentials: Sendable {
    private let name: [UInt8]

    init(_ name: String) { self.name = Array(name.utf8) }

    /// What all cookies of that name carry (RFC 6265 §4.2.1), without quotation marks around it.
    func values(in fields: HeaderFields) -> [[UInt8]] {
        var found: [[UInt8]] = []
        for index in 0..<fields.count where ASCII.equalFolded(fields.name(at: index), "cookie") {
            for pair in Self.array(fields.value(at: index)).split(separator: ASCII.semicolon) {
                guard let value = value(of: pair), !value.isEmpty else { continue }
                found.append(Array(value))
            }
        }
        return found
    }

    /// A `Cookie` field without those of that name which `isDropped`; nil if nothing is left.
    func stripped(_ field: [UInt8], where isDropped: ([UInt8]) -> Bool) -> [UInt8]? {
        let kept = field.split(separator: ASCII.semicolon).map { $0.drop { $0 == ASCII.space } }
            .filter { pair in !pair.isEmpty && value(of: pair).map { isDropped(Array($0)) } != true }
        return kept.isEmpty ? nil : Array(kept.joined(separator: [ASCII.semicolon, ASCII.space]))
    }

    private func value(of pair: ArraySlice<UInt8>) -> ArraySlice<UInt8>? {
        guard let equals = pair.firstIndex(of: UInt8(ascii: "=")), Self.trimmed(pair[..<equals]).elementsEqual(name)
        else { return nil }
        let value = Self.trimmed(pair[(equals + 1)...])
        guard value.count >= 2, value.first == ASCII.quote, value.last == ASCII.quote else { return value }
        return value.dropFirst().dropLast()
    }

    private static func trimmed(_ text: ArraySlice<UInt8>) -> ArraySlice<UInt8> {
        var text = text.drop { $0 == ASCII.space || $0 == ASCII.tab }
        while text.last == ASCII.space || text.last == ASCII.tab { text.removeLast() }
        return text
    }

    private static func array(_ bytes: Span<UInt8>) -> [UInt8] { bytes.withUnsafeBufferPointer { Array($0) } }

    // MARK: - Whose page it is

    /// Whether the page that sends a request may use a visitor's cookie. Who says neither where it is nor whence it comes, as browsers
    /// of before 2020 do and everything that is no browser, has other ways to show a key.
    static func mayBeUsed(_ head: RequestHead, isTLS: Bool, cors: CORSPolicy?) -> Bool {
        if cors?.allowsCredentials(head) == true { return true }
        // What the browser says of itself no page can change, and no proxy in front needs to be asked which scheme the page has.
        if let site = only("sec-fetch-site", in: head.fields) { return site == "same-origin" }
        guard !head.fields.contains("sec-fetch-site"), let origin = only("origin", in: head.fields) else {
            return false
        }
        return isSame(origin, head.authority, isTLS: isTLS)
    }

    private static func only(_ name: StaticString, in fields: HeaderFields) -> String? {
        guard let index = fields.firstIndex(of: name),
            !((index + 1)..<fields.count).contains(where: { ASCII.equalFolded(fields.name(at: $0), name) })
        else { return nil }
        return fields.valueString(at: index)
    }

    /// Scheme, host and port are the same. Where TLS ends before us, the page's scheme may be either.
    private static func isSame(_ origin: String, _ authority: String, isTLS: Bool) -> Bool {
        guard let colon = origin.firstIndex(of: ":"), origin[colon...].hasPrefix("://"), !authority.isEmpty else {
            return false
        }
        let scheme = origin[..<colon]
        guard scheme == "https" || scheme == "http" && !isTLS else { return false }
        var place = authority.lowercased()
        let ownPort = scheme == "https" ? ":443" : ":80"
        if place.hasSuffix(ownPort) { place.removeLast(ownPort.count) }
        return origin[colon...].dropFirst(3) == place
    }
}
