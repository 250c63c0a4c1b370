import SluiceConfig
import SluiceHTTP
import SluiceStreams

/// An upstream as exchanges hold it: a reference, with what is the same in each request to it made once.
final class UpstreamEndpoint: Sendable {
    let spec: UpstreamSpec
    /// For `Host` and `:authority`.
    let authority: String
    /// Where chat requests go unless the route says otherwise.
    let chatTarget: String
    /// Its key and the headers that the configuration puts on each request.
    let ownFields: HeaderFields
    /// `ownFields`, and those of a JSON request that Sluice writes itself.
    let jsonFields: HeaderFields

    init(_ spec: UpstreamSpec) {
        self.spec = spec
        authority = spec.url.authority
        chatTarget = spec.url.basePath + "/chat/completions"
        var own = HeaderFields()
        own.append("Accept-Encoding", "identity")
        if let key = spec.apiKey { own.append("Authorization", "Bearer " + key.revealed) }
        for (name, value) in spec.headers { own.append(name, value.revealed) }
        ownFields = own
        own.append("Content-Type", "application/json")
        own.append("User-Agent", "sluice")
        jsonFields = own
    }
}

extension UpstreamURL {
    /// For `Host`: the port only where it is not the scheme's own.
    var authority: String {
        if unixPath != nil { return "localhost" }
        let name = host.contains(":") ? "[\(host)]" : host
        return port == (isTLS ? 443 : 80) ? name : "\(name):\(port)"
    }
}

extension UpstreamSpec.Wire {
    func makeDecoder(eventBytes: Int) -> any StreamDecoder {
        switch self {
        case .dialect(let dialect): StreamDecoders.make(dialect, eventBytes: eventBytes)
        case .custom(let custom): StreamDecoders.make(custom, eventBytes: eventBytes)
        }
    }
}
