import SluiceBytes
import SluiceConfig
import SluiceHTTP
import SluiceIO

/// Signs the requests to one upstream at AWS. Shared by all workers; what changes is the store's own.
struct AWSSigning: Sendable {
    private let signer: AWSRequestSigner
    private let store: AWSCredentialStore

    /// How long a start may wait for the credentials' first arrival.
    private static let firstWait = 2000  // milliseconds

    /// - Throws: if the thread that keeps the credentials fresh cannot be made.
    init(_ spec: AWSSpec, url: UpstreamURL, environment: [String: String]) throws(SystemError) {
        let region =
            spec.region ?? Self.region(ofHost: url.host) ?? environment.value("AWS_REGION")
            ?? environment.value("AWS_DEFAULT_REGION") ?? "us-east-1"
        signer = AWSRequestSigner(region: region)
        store = try AWSCredentialStore(Self.source(spec), environment: environment)
        _ = store.waitForFirst(upTo: Self.firstWait)
    }

    /// `bedrock-runtime.eu-central-1.amazonaws.com`, and the same with `-fips`, or behind a VPC endpoint's id.
    static func region(ofHost host: String) -> String? {
        let labels = host.split(separator: ".")
        guard let service = labels.firstIndex(where: { $0.hasPrefix("bedrock") }), service + 2 < labels.count,
            labels[service + 1].contains("-")
        else { return nil }
        return String(labels[service + 1])
    }

    private static func source(_ spec: AWSSpec) -> AWSCredentialSource {
        if let id = spec.accessKeyID, let secret = spec.secretAccessKey {
            let token = spec.sessionToken.flatMap { $0.revealed.isEmpty ? nil : $0 }
            return .fixed(AWSCredentials(accessKeyID: id, secretAccessKey: secret, sessionToken: token))
        }
        if spec.credentialsFile != nil || spec.profile != nil {
            return .file(path: spec.credentialsFile, profile: spec.profile)
        }
        return .automatic
    }

    /// `time`: seconds since 1970. Throws what the log needs to know, and no secret, if there are no credentials.
    func sign(_ head: inout RequestHead, body: Span<UInt8>, at time: Int) throws(ProxyError) {
        switch store.current() {
        case .success(let credentials):
            do throws(DigestError) {
                try signer.sign(&head, body: body, with: credentials, at: time)
            } catch {
                throw ProxyError(.status(503), .proxy, "the request could not be signed", detail: "no SHA-256")
            }
        case .failure(let why):
            throw ProxyError(
                .status(503), .proxy, "the upstream's credentials are not available", detail: why.description)
        }
    }
}
