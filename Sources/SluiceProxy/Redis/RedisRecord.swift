import SluiceBytes
import SluiceHTTP
import SluiceIO

/// The names of all that stands in Redis. The keys of one generation have their hash tag in common, and so one slot of a cluster.
struct RedisKeys: Sendable {
    let prefix: String

    /// A hash: what it is, and how far.
    func record(_ id: String) -> String { "\(prefix){\(id)}:record" }
    /// A stream of the body: one entry for each part, whose id is the position behind it.
    func body(_ id: String) -> String { "\(prefix){\(id)}:body" }
    /// A channel: something is new.
    func news(_ id: String) -> String { "\(prefix){\(id)}" }
    /// Holds the id of the newest generation of a scope that bears a name.
    func alias(_ name: String, scope: String) -> String { "\(prefix)alias:\(Self.digest(scope, name))" }
    /// Is there as long as its owner lives.
    func lease(_ owner: String) -> String { "\(prefix)owner:\(owner)" }
    /// A channel: what its owner is to stop.
    func control(_ owner: String) -> String { "\(prefix)control:\(owner)" }

    /// In place of the words themselves, which may tell who somebody is.
    static func digest(_ parts: String...) -> String {
        let text = parts.map { "\($0.utf8.count):\($0)" }.joined()
        // Without SHA-256 there is no TLS and no authentication either; a name that finds nothing does no harm.
        let digest = try? Digest.sha256(Array(text.utf8).span)
        return digest.map { Digest.hex(Array($0.prefix(16))) } ?? "none"
    }

    /// What may be part of a key: nothing that could end a hash tag.
    static func isID(_ text: String) -> Bool {
        text.utf8.count == 22
            && text.utf8.allSatisfy { byte in
                ASCII.isDigit(byte) || ASCII.lowercase(byte) &- 0x61 < 26 || byte == 0x2D || byte == 0x5F
            }
    }
}

/// The head of an answer as it stands in a record: a status, and a line for each field.
enum RedisHead {
    static func encode(_ fields: HeaderFields) -> [UInt8] {
        var out = ByteQueue()
        for index in 0..<fields.count {
            out.append(fields.name(at: index))
            out.append(":")
            out.append(fields.value(at: index))
            out.append("\n")
        }
        return out.withUnsafeBytes { Array($0) }
    }

    /// Lines that are no fields are left out: whoever writes into Redis must not be able to end a head.
    static func decode(status: [UInt8], fields text: [UInt8]) -> ResponseHead? {
        guard let status = ASCII.decimal(status.span), (200...599).contains(status) else { return nil }
        var fields = HeaderFields()
        for line in text.split(separator: ASCII.lf) {
            guard let colon = line.firstIndex(of: ASCII.colon) else { continue }
            let (name, value) = (Array(line[..<colon]), Array(line[line.index(after: colon)...]))
            guard !name.isEmpty, name.allSatisfy(isToken), value.allSatisfy({ $0 >= 0x20 || $0 == ASCII.tab }) else {
                continue
            }
            fields.append(name: name.span, value: value.span)
        }
        return ResponseHead(status: status, fields: fields)
    }

    private static func isToken(_ byte: UInt8) -> Bool {
        byte > 0x20 && byte < 0x7F && !"\"(),/:;<=>?@[\\]{}".utf8.contains(byte)
    }
}

/// One part of a body, as `XRANGE` tells it.
struct RedisEntry {
    /// The position behind its last byte.
    let end: Int
    let bytes: [UInt8]

    var start: Int { end - bytes.count }

    /// nil for what no Sluice has written.
    init?(_ value: RESPValue) {
        guard case .array(let parts) = value, parts.count == 2, case .bulk(let id) = parts[0],
            case .array(let fields) = parts[1], fields.count == 2, case .bulk(let bytes) = fields[1],
            let end = ASCII.decimal(Array(id.prefix { $0 != UInt8(ascii: "-") }).span), end >= bytes.count,
            end < 1 << 52
        else { return nil }
        (self.end, self.bytes) = (end, bytes)
    }
}

extension RESPValue {
    /// A bulk string.
    var bytes: [UInt8]? {
        guard case .bulk(let bytes) = self else { return nil }
        return bytes
    }

    var text: String? { bytes.map { String(decoding: $0, as: UTF8.self) } }

    /// The elements of an array of just so many.
    func elements(_ count: Int) -> [RESPValue]? {
        guard case .array(let elements) = self, elements.count == count else { return nil }
        return elements
    }
}
