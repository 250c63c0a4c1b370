import SluiceConfig

/// Who signs a request to AWS. Those that somebody lends have a session's token and an end.
struct AWSCredentials: Sendable, Equatable {
    var accessKeyID: String
    var secretAccessKey: Secret
    var sessionToken: Secret?
    /// Seconds since 1970; nil: never.
    var expiration: Int?

    init(accessKeyID: String, secretAccessKey: Secret, sessionToken: Secret? = nil, expiration: Int? = nil) {
        (self.accessKeyID, self.secretAccessKey) = (accessKeyID, secretAccessKey)
        (self.sessionToken, self.expiration) = (sessionToken, expiration)
    }
}

/// Why there are no credentials, in words for the log; it says no secret.
struct AWSCredentialError: Error, Equatable, Sendable, CustomStringConvertible {
    let description: String

    init(_ description: String) { self.description = description }
}

/// Where credentials come from, with the names and in the order that AWS's own tools have ("AWS SDKs and Tools
/// Reference Guide", standardized credential providers).
enum AWSCredentialSource: Sendable, Equatable {
    case fixed(AWSCredentials)
    /// `AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY`, `AWS_SESSION_TOKEN`.
    case environment
    /// The shared file; nil for what `AWS_SHARED_CREDENTIALS_FILE` and `AWS_PROFILE` say.
    case file(path: String?, profile: String?)
    /// What ECS or EKS offers to a container.
    case container
    /// The first of the environment, the file and the container that there is.
    case automatic

    /// Nothing of it changes while the process lives.
    func isConstant(_ environment: [String: String]) -> Bool {
        switch self {
        case .fixed, .environment: true
        case .file, .container: false
        case .automatic: environment.hasValue("AWS_ACCESS_KEY_ID")
        }
    }

    /// Reads or fetches them; the container's endpoint is waited for.
    func load(_ environment: [String: String]) throws(AWSCredentialError) -> AWSCredentials {
        switch self {
        case .fixed(let credentials): return credentials
        case .environment: return try Self.fromEnvironment(environment)
        case .file(let path, let profile): return try AWSSharedFile.load(path, profile, environment)
        case .container: return try AWSContainerEndpoint(environment).fetch()
        case .automatic:
            if environment.hasValue("AWS_ACCESS_KEY_ID") { return try Self.fromEnvironment(environment) }
            if AWSSharedFile.exists(environment) { return try AWSSharedFile.load(nil, nil, environment) }
            if AWSContainerEndpoint.isOffered(environment) { return try AWSContainerEndpoint(environment).fetch() }
            throw AWSCredentialError("no AWS credentials in the environment, in the shared file or from a container")
        }
    }

    private static func fromEnvironment(
        _ environment: [String: String]
    ) throws(AWSCredentialError) -> AWSCredentials {
        guard let id = environment.value("AWS_ACCESS_KEY_ID"), let secret = environment.value("AWS_SECRET_ACCESS_KEY")
        else { throw AWSCredentialError("AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY are not both set") }
        let token = environment.value("AWS_SESSION_TOKEN").map { Secret($0) }
        return AWSCredentials(accessKeyID: id, secretAccessKey: Secret(secret), sessionToken: token)
    }
}

extension [String: String] {
    /// A variable that is set to something.
    func value(_ name: String) -> String? { self[name].flatMap { $0.isEmpty ? nil : $0 } }
    func hasValue(_ name: String) -> Bool { value(name) != nil }
}
