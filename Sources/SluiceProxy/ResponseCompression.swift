import SluiceBytes
import SluiceHTTP

/// Which answers are compressed towards a client, and what their heads say then (RFC 9110 §8.4.1, §12.5.3). Pure.
enum ResponseCompression {
    /// Below this many bytes the head's additions and the coding's own cost what is saved.
    static let leastBytes = 1 << 10
    /// A document that is whole is compressed in one go, and every other stream of the loop waits for that.
    static let mostBytesAtOnce = 1 << 20

    /// nil: the body stays as it is. `isOwn`: Sluice writes it, or relays a stream under a head of its own.
    static func coding(
        for head: ResponseHead, length: BodyLength, of request: RequestHead, isOwn: Bool, among codings: [BodyCoding]
    ) -> BodyCoding? {
        // Errors and parts are left as they are, and so is what has a coding already.
        guard (200..<300).contains(head.status), head.status != 204, head.status != 206, request.method != "HEAD",
            !head.fields.contains("content-encoding"), !head.fields.contains("content-range")
        else { return nil }
        switch length {
        case .none: return nil
        case .fixed(let count):
            guard count >= leastBytes, !isOwn || count <= mostBytesAtOnce else { return nil }
        case .chunked, .untilClose: break
        }
        // Of a stream that goes out under our head it is we who say so, to whoever comes behind us.
        if !isOwn, forbidsTransforming(head.fields) || !isText(head.fields) { return nil }
        return AcceptEncoding(request.fields).choice(of: codings)
    }

    /// The fields of the same body, compressed: what was true of its bytes alone goes, a strong validator becomes a weak one.
    static func fields(_ fields: HeaderFields, codedBy coding: BodyCoding) -> HeaderFields {
        let names: [StaticString] = [
            "content-length", "accept-ranges", "content-md5", "content-digest", "repr-digest", "digest",
        ]
        var coded = HeaderFields()
        coded.reserve(bytes: fields.byteCount + 32)
        for index in 0..<fields.count where !names.contains(where: { ASCII.equalFolded(fields.name(at: index), $0) }) {
            let value = fields.value(at: index)
            if ASCII.equalFolded(fields.name(at: index), "etag"), value.count > 1, value[0] == ASCII.quote {
                coded.append(fields.nameString(at: index), "W/" + fields.valueString(at: index))
            } else {
                coded.append(name: fields.name(at: index), value: value)
            }
        }
        coded.append("Content-Encoding", coding.rawValue)
        return coded
    }

    /// Says that the answer depends on `Accept-Encoding`, whether it is compressed or not, in the `Vary` that is there or in one of
    /// its own.
    static func addVary(to fields: inout HeaderFields) {
        guard let place = fields.firstIndex(of: "vary") else { return fields.append("Vary", "Accept-Encoding") }
        let isSaid = (0..<fields.count).contains { index in
            ASCII.equalFolded(fields.name(at: index), "vary")
                && elements(fields.valueString(at: index)).contains { $0 == "*" || $0 == "accept-encoding" }
        }
        if isSaid { return }
        var varied = HeaderFields()
        varied.reserve(bytes: fields.byteCount + 24)
        for index in 0..<fields.count {
            if index == place {
                let value = fields.valueString(at: index)
                varied.append("Vary", value.isEmpty ? "Accept-Encoding" : value + ", Accept-Encoding")
            } else {
                varied.append(name: fields.name(at: index), value: fields.value(at: index))
            }
        }
        fields = varied
    }

    // MARK: - What is worth it

    private static func forbidsTransforming(_ fields: HeaderFields) -> Bool {
        (0..<fields.count).contains { index in
            ASCII.equalFolded(fields.name(at: index), "cache-control")
                && elements(fields.valueString(at: index)).contains("no-transform")
        }
    }

    private static let types: Set<String> = [
        "application/json", "application/x-ndjson", "application/ndjson", "application/jsonl", "application/json-lines",
        "application/stream+json", "application/javascript", "application/xml", "application/yaml", "image/svg+xml",
    ]

    /// Pictures, sound and archives are compressed as they are.
    private static func isText(_ fields: HeaderFields) -> Bool {
        guard let value = fields.first("content-type") else { return false }
        let type = value.prefix { $0 != ";" && $0 != " " }.lowercased()
        return type.hasPrefix("text/") || type.hasSuffix("+json") || type.hasSuffix("+xml") || types.contains(type)
    }

    private static func elements(_ list: String) -> [String] {
        list.lowercased().split { $0 == "," || $0 == " " || $0 == "\t" }.map(String.init)
    }
}
