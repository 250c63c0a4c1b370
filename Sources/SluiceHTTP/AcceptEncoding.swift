import SluiceBytes

/// How a body is compressed towards a client. The raw value is the coding's name in `Content-Encoding`.
public enum BodyCoding: String, Sendable, CaseIterable {
    case brotli = "br"
    case gzip
}

/// Which codings a client takes, and how gladly: its `Accept-Encoding` (RFC 9110 §12.5.3).
///
/// What cannot be understood is not there: a coding is used only for a client that names it clearly. A request without the field
/// allows all of them; it still gets its body as it is, since most of those who do not say it cannot decode anything.
public struct AcceptEncoding: Sendable, Equatable {
    /// In thousandths; nil: not named.
    private var brotli: Int?
    private var gzip: Int?
    private var identity: Int?
    private var others: Int?

    public init(_ fields: HeaderFields) {
        var found = (brotli: Int?.none, gzip: Int?.none, identity: Int?.none, others: Int?.none)
        for index in 0..<fields.count where ASCII.equalFolded(fields.name(at: index), "accept-encoding") {
            HTTP1Grammar.forEachElement(fields.value(at: index)) { element in
                guard let (name, weight) = Self.weighted(element) else { return }
                let coding = element.extracting(0..<name)
                // Of one that stands there twice the first counts.
                if ASCII.equalFolded(coding, "br") {
                    found.brotli = found.brotli ?? weight
                } else if ASCII.equalFolded(coding, "gzip") || ASCII.equalFolded(coding, "x-gzip") {
                    found.gzip = found.gzip ?? weight
                } else if ASCII.equalFolded(coding, "identity") {
                    found.identity = found.identity ?? weight
                } else if ASCII.equal(coding, "*") {
                    found.others = found.others ?? weight
                }
            }
        }
        (brotli, gzip, identity, others) = found
    }

    /// The one that the client likes best; of several, the first of `codings`, which stand in the order of the server's liking.
    /// nil: the body stays as it is, even where the client does not want that either: to send nothing would help nobody.
    public func choice(of codings: [BodyCoding]) -> BodyCoding? {
        var best: (coding: BodyCoding, weight: Int)?
        for coding in codings {
            let named = coding == .brotli ? brotli : gzip
            let weight = named ?? others ?? 0
            if weight > best?.weight ?? 0 { best = (coding, weight) }
        }
        guard let best, best.weight >= identity ?? others ?? 0 else { return nil }
        return best.coding
    }

    /// `gzip;q=0.5` as the length of its name and the weight in thousandths; nil for what is no such thing.
    private static func weighted(_ element: Span<UInt8>) -> (name: Int, weight: Int)? {
        var end = 0
        while end < element.count, HTTP1Grammar.isTokenByte(element[end]) { end += 1 }
        guard end > 0 else { return nil }
        var rest = end
        func skipBlanks() { while rest < element.count, HTTP1Grammar.isBlank(element[rest]) { rest += 1 } }
        skipBlanks()
        if rest == element.count { return (end, 1000) }
        guard element[rest] == ASCII.semicolon else { return nil }
        rest += 1
        skipBlanks()
        guard rest + 2 < element.count, ASCII.lowercase(element[rest]) == UInt8(ascii: "q"),
            element[rest + 1] == UInt8(ascii: "="),
            let weight = weight(element.extracting((rest + 2)..<element.count))
        else { return nil }
        return (end, weight)
    }

    /// `0`, `0.125`, `1`, `1.000` (RFC 9110 §12.4.2).
    private static func weight(_ text: Span<UInt8>) -> Int? {
        guard let first = text.indices.first, text.count <= 5, text[first] == 0x30 || text[first] == 0x31 else {
            return nil
        }
        var weight = text[first] == 0x31 ? 1000 : 0
        guard text.count > 1 else { return weight }
        guard text[1] == UInt8(ascii: ".") else { return nil }
        var place = 100
        for index in 2..<text.count {
            guard ASCII.isDigit(text[index]) else { return nil }
            weight += Int(text[index] &- 0x30) * place
            place /= 10
        }
        return weight <= 1000 ? weight : nil
    }
}
