import CNghttp2
import SluiceBytes

/// The fields of one head on their way to nghttp2, which copies them: names in lower case, without those that belong to
/// one HTTP/1.1 connection (RFC 9113 §8.2.2), and without any byte that could break a field (§8.2.1).
struct HTTP2FieldBlock: ~Copyable {
    private struct Field {
        let start: Int
        let nameCount: Int
        let valueCount: Int
        let isSecret: Bool
    }
    private var bytes = ByteQueue()
    private var fields: [Field] = []

    init() { fields.reserveCapacity(16) }

    mutating func add(_ name: StaticString, _ value: String) {
        let start = bytes.count
        bytes.append(name)
        bytes.append(value)
        fields.append(
            Field(
                start: start, nameCount: name.utf8CodeUnitCount,
                valueCount: bytes.count - start - name.utf8CodeUnitCount, isSecret: false))
    }

    mutating func add(_ others: HeaderFields) {
        for index in 0..<others.count { add(others.name(at: index), others.value(at: index)) }
    }

    private mutating func add(_ name: Span<UInt8>, _ value: Span<UInt8>) {
        guard HTTP1Grammar.isToken(name), !HeaderFields.isHopByHop(name) else { return }
        let start = bytes.count
        bytes.appendUninitialized(name.count) { room in
            for index in name.indices { room[index] = ASCII.lowercase(name[index]) }
            return name.count
        }
        // White space around a value is not part of it, and a strict peer refuses it.
        var (first, last) = (0, value.count)
        while first < last, HTTP1Grammar.isBlank(value[first]) { first += 1 }
        while last > first, HTTP1Grammar.isBlank(value[last - 1]) { last -= 1 }
        let trimmed = value.extracting(first..<last)
        if HTTP1Grammar.isText(trimmed) {
            bytes.append(trimmed)
        } else {
            for index in trimmed.indices {
                bytes.append(HTTP1Grammar.isTextByte(trimmed[index]) ? trimmed[index] : ASCII.space)
            }
        }
        fields.append(
            Field(start: start, nameCount: name.count, valueCount: last - first, isSecret: Self.isSecret(name)))
    }

    /// Kept out of the compression table (RFC 7541 §7.1.3): secrets, so that nobody can guess them by its size; ids, since
    /// no two are alike.
    private static func isSecret(_ name: Span<UInt8>) -> Bool {
        let secrets: [StaticString] = [
            "authorization", "x-api-key", "api-key", "x-goog-api-key", "cookie", "x-request-id",
        ]
        return secrets.contains { ASCII.equalFolded(name, $0) }
    }

    @discardableResult
    consuming func withValues<R>(_ body: (UnsafePointer<nghttp2_nv>?, Int) -> R) -> R {
        var values: [nghttp2_nv] = []
        values.reserveCapacity(fields.count)
        return bytes.withUnsafeBytes { buffer in
            if let base = buffer.baseAddress {
                let start = UnsafeMutablePointer(mutating: base)  // nghttp2 only reads it
                for field in fields {
                    let name = start + field.start
                    values.append(
                        nghttp2_nv(
                            name: name, value: name + field.nameCount, namelen: field.nameCount,
                            valuelen: field.valueCount,
                            flags: UInt8(
                                field.isSecret ? NGHTTP2_NV_FLAG_NO_INDEX.rawValue : NGHTTP2_NV_FLAG_NONE.rawValue)))
                }
            }
            return values.withUnsafeBufferPointer { body($0.baseAddress, $0.count) }
        }
    }
}
