import SluiceBytes
import SluiceConfig
import SluiceHTTP
import SluiceIO
import SluiceStreams

/// An upstream as exchanges hold it: a reference, with what is the same in each request to it made once.
final class UpstreamEndpoint: Sendable {
    let spec: UpstreamSpec
    /// In whose words requests are written.
    let dialect: Dialect
    let labels: UpstreamLabels
    /// For `Host` and `:authority`.
    let authority: String
    /// Where requests go unless the route says otherwise; nil if that depends on the request's model.
    private let streamTarget: String?
    /// Its key and the headers that the configuration puts on each request.
    let ownFields: HeaderFields
    /// `ownFields`, and those of a JSON request that Sluice writes itself.
    let jsonFields: HeaderFields
    /// Of the headers that the configuration puts on each request, in lower case.
    private let givenNames: [[UInt8]]
    private let signing: AWSSigning?

    init(_ spec: UpstreamSpec, signing: AWSSigning? = nil) {
        (self.spec, self.signing) = (spec, signing)
        (authority, labels) = (spec.url.authority, UpstreamLabels(spec))
        dialect = spec.wire.requestDialect
        let isFixed = !dialect.namesModelInTarget
        streamTarget = isFixed ? dialect.target(base: spec.url.basePath, model: "", stream: true) : nil
        var own = HeaderFields()
        own.append("Accept-Encoding", "identity")
        if let key = spec.apiKey {
            let field = dialect.keyField
            own.append(field.rawValue, field == .bearer ? "Bearer " + key.revealed : key.revealed)
        }
        let given = spec.headers.map { $0.name.lowercased() }
        givenNames = given.map { Array($0.utf8) }
        for (name, value) in dialect.requiredFields where !given.contains(name) { own.append(name, value) }
        for (name, value) in spec.headers { own.append(name, value.revealed) }
        ownFields = own
        own.append("Content-Type", "application/json")
        own.append("User-Agent", "sluice")
        jsonFields = own
    }

    /// Whether a client's field of this name gives way to one that the configuration puts on each request.
    func replaces(_ name: Span<UInt8>) -> Bool {
        guard !givenNames.isEmpty else { return false }
        let lowered = name.indices.map { ASCII.lowercase(name[$0]) }
        return givenNames.contains(lowered)
    }

    /// `ownFields` without what the provider insists on where the client has said it: which version of a protocol it speaks.
    func fields(beside client: HeaderFields) -> HeaderFields {
        let said = dialect.requiredFields.map(\.name).filter { client.first(named: $0) != nil }
        guard !said.isEmpty else { return ownFields }
        return ownFields.filtered { !said.contains(ownFields.nameString(at: $0).lowercased()) }
    }

    /// The last thing that is done to a request whose body is whole: a signature covers all that it should.
    func sign(_ head: inout RequestHead, body: Span<UInt8>) throws(ProxyError) {
        if let signing { try signing.sign(&head, body: body, at: EventLoop.unixTime()) }
    }

    /// Signatures cover the body, which must be whole therefore.
    var signsRequests: Bool { signing != nil }

    /// Where a request for this model goes.
    func target(model: String, stream: Bool) -> String {
        if stream, let streamTarget { return streamTarget }
        return dialect.target(base: spec.url.basePath, model: model, stream: stream)
    }
}

extension UpstreamSpec.Wire {
    /// Custom dialects are ways to answer; what they are asked in is OpenAI's chat.
    var requestDialect: Dialect {
        switch self {
        case .dialect(let dialect): dialect
        case .custom: .openAIChat
        }
    }

    /// For an answer that came as one document; nil where there is no such thing.
    func makeDocumentDecoder(eventBytes: Int) -> (any StreamDecoder)? {
        switch self {
        case .dialect(let dialect): StreamDecoders.makeDocument(dialect, eventBytes: eventBytes)
        case .custom: nil
        }
    }

    func makeDecoder(eventBytes: Int) -> any StreamDecoder {
        switch self {
        case .dialect(let dialect): StreamDecoders.make(dialect, eventBytes: eventBytes)
        case .custom(let custom): StreamDecoders.make(custom, eventBytes: eventBytes)
        }
    }
}
