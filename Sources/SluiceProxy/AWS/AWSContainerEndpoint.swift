import SluiceBytes
import SluiceConfig
import SluiceIO
import SluiceStreams

/// Where a container of ECS or EKS gets its credentials: plain HTTP to an address that does not leave the machine
/// ("Container credential provider", AWS SDKs and Tools Reference Guide). Blocks; only for a thread that may.
struct AWSContainerEndpoint: Equatable {
    let address: IPAddress
    let port: Int
    /// The `Host` field.
    let authority: String
    let target: String
    private let token: Token

    private enum Token: Equatable {
        case none
        case fixed(Secret)
        /// Read anew each time, since it is replaced while it is good.
        case file(String)
    }

    static func isOffered(_ environment: [String: String]) -> Bool {
        environment.hasValue("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI")
            || environment.hasValue("AWS_CONTAINER_CREDENTIALS_FULL_URI")
    }

    init(_ environment: [String: String]) throws(AWSCredentialError) {
        if let path = environment.value("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI") {
            guard path.hasPrefix("/") else {
                throw AWSCredentialError("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI does not begin with a slash")
            }
            (address, port, authority, target) = (Self.taskAddress, 80, "169.254.170.2", path)
        } else if let url = environment.value("AWS_CONTAINER_CREDENTIALS_FULL_URI") {
            guard let parts = Self.parse(url) else {
                throw AWSCredentialError(
                    "AWS_CONTAINER_CREDENTIALS_FULL_URI is not http:// and a loopback or container address: \(url)")
            }
            (address, port, authority, target) = parts
        } else {
            throw AWSCredentialError("no AWS_CONTAINER_CREDENTIALS_RELATIVE_URI or _FULL_URI is set")
        }
        guard target.utf8.allSatisfy({ $0 > 0x20 && $0 < 0x7F }) else {
            throw AWSCredentialError("the container's credentials URI is not one")
        }
        if let file = environment.value("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE") {
            token = .file(file)
        } else {
            token = environment.value("AWS_CONTAINER_AUTHORIZATION_TOKEN").map { .fixed(Secret($0)) } ?? .none
        }
    }

    // MARK: - Addresses

    private static let taskAddress = IPAddress.v4(0xA9FE_AA02)  // 169.254.170.2, ECS
    private static let podAddress = IPAddress.v4(0xA9FE_AA17)  // 169.254.170.23, EKS
    private static let podAddress6 = IPAddress.v6(0xFD00_0EC2_0000_0000, 0x23)  // fd00:ec2::23, EKS

    /// The credentials are secret and the way is not: it must end on this machine.
    private static func isAllowed(_ address: IPAddress) -> Bool {
        switch address {
        case taskAddress, podAddress, podAddress6: true
        case .v4(let bits): bits >> 24 == 127
        case .v6(let high, let low): high == 0 && low == 1
        }
    }

    private static func parse(_ url: String) -> (IPAddress, Int, String, String)? {
        guard url.hasPrefix("http://") else { return nil }
        let rest = url.dropFirst(7)
        let end = rest.firstIndex { $0 == "/" || $0 == "?" } ?? rest.endIndex
        let authority = rest[..<end]
        let target = rest[end...].hasPrefix("/") ? String(rest[end...]) : "/" + rest[end...]
        var (host, port) = (authority, "80"[...])
        let bracket = authority.lastIndex(of: "]") ?? authority.startIndex
        if let colon = authority[bracket...].lastIndex(of: ":") {
            (host, port) = (authority[..<colon], authority[authority.index(after: colon)...])
        }
        if host.hasPrefix("["), host.hasSuffix("]") { host = host.dropFirst().dropLast() }
        let name = host == "localhost" ? "127.0.0.1" : String(host)
        guard let address = IPAddress(name), isAllowed(address), let number = Int(port), 1...65_535 ~= number else {
            return nil
        }
        return (address, number, String(authority), target)
    }

    // MARK: - Fetching

    func fetch() throws(AWSCredentialError) -> AWSCredentials {
        var lines = ["GET \(target) HTTP/1.1", "Host: \(authority)", "Accept: application/json", "Connection: close"]
        if let token = try tokenValue() { lines.append("Authorization: \(token)") }
        let request = lines.joined(separator: "\r\n") + "\r\n\r\n"
        let answer: BlockingHTTP.Answer
        do {
            answer = try BlockingHTTP.exchange(Array(request.utf8), with: address, port)
        } catch {
            throw AWSCredentialError("the container's credentials cannot be fetched: \(error)")
        }
        return try Self.read(answer)
    }

    private func tokenValue() throws(AWSCredentialError) -> String? {
        let value: String
        switch token {
        case .none: return nil
        case .fixed(let token): value = token.revealed
        case .file(let path):
            guard let bytes = AWSSharedFile.read(path) else {
                throw AWSCredentialError("the authorization token in \(path) cannot be read")
            }
            value = String(decoding: bytes, as: UTF8.self)
        }
        let line = value.split(whereSeparator: \.isNewline)
        guard line.count == 1, let text = line.first else {
            throw AWSCredentialError("the container's authorization token is not one line")
        }
        return String(text)
    }

    /// `{"AccessKeyId","SecretAccessKey","Token","Expiration"}`, or `{"code","message"}`.
    static func read(_ answer: BlockingHTTP.Answer) throws(AWSCredentialError) -> AWSCredentials {
        let document = JSONValue.parse(answer.body)
        guard answer.status == 200, let document else {
            let words = document?.text(at: ["message"]) ?? document?.text(at: ["Message"]) ?? ""
            throw AWSCredentialError("the container's credentials were answered with status \(answer.status) \(words)")
        }
        guard let id = document["AccessKeyId"]?.string?.text, let secret = document["SecretAccessKey"]?.string?.text
        else { throw AWSCredentialError("what the container's endpoint answered has no access key") }
        let token = document["Token"]?.string.map { Secret($0.text) }
        var expiration: Int?
        if let text = document["Expiration"]?.string?.text {
            guard let seconds = AWSTime.seconds(text) else {
                throw AWSCredentialError("the container's credentials expire at '\(text)', which is no time")
            }
            expiration = seconds
        }
        return AWSCredentials(
            accessKeyID: id, secretAccessKey: Secret(secret), sessionToken: token, expiration: expiration)
    }
}
