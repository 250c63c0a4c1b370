import SluiceBytes
import SluiceHTTP
import SluiceStreams

/// A request that the page wants made: `{method, target, host, headers, body}`. Only what a client of a route needs to say passes:
/// nothing that would name another client than the one who asks, and no address, since it goes nowhere but to the routes of this process.
struct PageCall {
    let head: RequestHead
    let body: [UInt8]

    private static let methods = ["GET", "POST", "DELETE"]
    private static let names: Set<String> = [
        "accept", "content-type", "authorization", "x-api-key", "last-event-id", "anthropic-version",
    ]

    init?(_ json: [UInt8]) {
        guard let wanted = JSONValue.parse(json), let method = wanted["method"]?.string?.text,
            Self.methods.contains(method), let target = wanted["target"]?.string?.text, target.hasPrefix("/")
        else { return nil }
        var fields = HeaderFields()
        for (name, value) in wanted["headers"]?.members ?? [] where Self.names.contains(name.lowercased()) {
            if let text = value.string?.text { fields.append(name, text) }
        }
        body = Array((wanted["body"]?.string?.text ?? "").utf8)
        let host = wanted["host"]?.string?.text ?? ""
        head = RequestHead(
            method: method, target: target, authority: host.isEmpty ? "localhost" : host, fields: fields)
    }

    func append(to bytes: inout ByteQueue) {
        HTTP1Serializer.request(head, length: body.isEmpty ? .none : .fixed(body.count), into: &bytes)
        bytes.append(body)
    }
}
