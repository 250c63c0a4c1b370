import SluiceBytes
import SluiceConfig
import SluiceHTTP
import SluiceStreams

/// The fields of the answers to clients.
enum ResponseFields {
    /// The head of a stream that Sluice writes itself: never cached, transformed or buffered on its way.
    static func stream(
        _ contentType: String, _ own: [(name: StaticString, value: StaticString)], _ requestID: String,
        _ passedOn: HeaderFields, _ route: RouteEntry?
    ) -> ResponseHead {
        var fields = HeaderFields()
        fields.reserve(bytes: 192 + passedOn.byteCount)
        fields.append("Content-Type", contentType)
        for (name, value) in own { fields.append(name.description, value.description) }
        appendStreaming(to: &fields, requestID)
        for index in 0..<passedOn.count {
            fields.append(name: passedOn.name(at: index), value: passedOn.value(at: index))
        }
        appendRoute(route, to: &fields)
        return ResponseHead(status: 200, fields: fields)
    }

    /// The head of an answer that Sluice writes as one document.
    static func document(_ requestID: String, _ passedOn: HeaderFields, _ route: RouteEntry?) -> ResponseHead {
        var fields = HeaderFields()
        fields.append("Content-Type", "application/json")
        fields.append("X-Request-Id", requestID)
        for index in 0..<passedOn.count {
            fields.append(name: passedOn.name(at: index), value: passedOn.value(at: index))
        }
        appendRoute(route, to: &fields)
        return ResponseHead(status: 200, fields: fields)
    }

    /// An upstream's own head, relayed: end-to-end fields only, ours put in after.
    static func relayed(_ head: ResponseHead, _ requestID: String, _ route: RouteEntry?) -> ResponseHead {
        let isStream = ContentType(head.fields).isStream
        let kept = head.fields.endToEnd()
        var fields = kept.filtered { index in
            let name = kept.name(at: index)
            if ASCII.equalFolded(name, "x-request-id") { return false }
            return !isStream
                || !(ASCII.equalFolded(name, "cache-control") || ASCII.equalFolded(name, "x-accel-buffering"))
        }
        if isStream { appendStreaming(to: &fields, requestID) } else { fields.append("X-Request-Id", requestID) }
        appendRoute(route, to: &fields)
        return ResponseHead(status: head.status, fields: fields)
    }

    /// How the relayed body is delimited towards the client.
    static func bodyLength(_ head: ResponseHead, method: String) -> BodyLength {
        if head.status == 204 || head.status == 304 { return .none }
        if let text = head.fields.first("content-length"), let length = Int(text), length >= 0 { return .fixed(length) }
        return method == "HEAD" ? .none : .chunked
    }

    /// Fields of an upstream's response that a client acts on, whatever its dialect.
    static func passedOn(_ fields: HeaderFields) -> HeaderFields {
        fields.filtered { index in
            let name = fields.name(at: index)
            if ASCII.equalFolded(name, "retry-after") || ASCII.equalFolded(name, "retry-after-ms") { return true }
            return hasPrefix(name, "x-ratelimit-") || hasPrefix(name, "anthropic-ratelimit-")
        }
    }

    private static func appendStreaming(to fields: inout HeaderFields, _ requestID: String) {
        fields.append("Cache-Control", "no-cache, no-transform")
        fields.append("X-Accel-Buffering", "no")
        fields.append("X-Request-Id", requestID)
    }

    private static func appendRoute(_ route: RouteEntry?, to fields: inout HeaderFields) {
        guard let route else { return }
        for (name, value) in route.spec.responseHeaders { fields.append(name, value) }
    }

    private static func hasPrefix(_ name: Span<UInt8>, _ prefix: StaticString) -> Bool {
        let length = prefix.utf8CodeUnitCount
        return name.count >= length && ASCII.equalFolded(name.extracting(0..<length), prefix)
    }
}
