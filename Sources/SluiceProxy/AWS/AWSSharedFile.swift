import Glibc
import SluiceConfig

/// The file that `aws configure` writes, `~/.aws/credentials`: sections of a profile's name, `name = value` in each.
enum AWSSharedFile {
    private static let limitBytes = 1 << 20

    static func exists(_ environment: [String: String]) -> Bool {
        path(environment).map { access($0, R_OK) == 0 } ?? false
    }

    static func load(
        _ path: String?, _ profile: String?, _ environment: [String: String]
    ) throws(AWSCredentialError) -> AWSCredentials {
        guard let path = path ?? Self.path(environment) else {
            throw AWSCredentialError("there is no home folder to look for AWS credentials in")
        }
        guard let bytes = read(path) else {
            throw AWSCredentialError("\(path) cannot be read: \(String(cString: strerror(errno)))")
        }
        let profile = profile ?? environment.value("AWS_PROFILE") ?? "default"
        guard let values = section(profile, of: String(decoding: bytes, as: UTF8.self)) else {
            throw AWSCredentialError("\(path) has no profile '\(profile)'")
        }
        guard let id = values.value("aws_access_key_id"), let secret = values.value("aws_secret_access_key") else {
            throw AWSCredentialError("profile '\(profile)' in \(path) has no access key")
        }
        let token = values.value("aws_session_token").map { Secret($0) }
        return AWSCredentials(accessKeyID: id, secretAccessKey: Secret(secret), sessionToken: token)
    }

    private static func path(_ environment: [String: String]) -> String? {
        environment.value("AWS_SHARED_CREDENTIALS_FILE") ?? environment.value("HOME").map { $0 + "/.aws/credentials" }
    }

    /// The values of one section, or nil if there is none of that name. Of a name given twice the last counts.
    static func section(_ name: String, of text: String) -> [String: String]? {
        var values: [String: String]?
        var isInside = false
        for line in text.split(whereSeparator: \.isNewline) {
            let line = trimmed(line)
            if line.isEmpty || line.hasPrefix("#") || line.hasPrefix(";") { continue }
            if line.hasPrefix("[") {
                let title = trimmed(line.dropFirst().prefix { $0 != "]" })
                isInside = title == name
                if isInside, values == nil { values = [:] }
                continue
            }
            let parts = line.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
            if isInside, parts.count == 2 { values?[trimmed(parts[0]).lowercased()] = trimmed(parts[1]) }
        }
        return values
    }

    private static func trimmed(_ text: some StringProtocol) -> String {
        let start = text.drop { $0 == " " || $0 == "\t" }
        return String(start.reversed().drop { $0 == " " || $0 == "\t" }.reversed())
    }

    /// nil, and `errno`: the file cannot be read, or is far too long.
    static func read(_ path: String) -> [UInt8]? {
        let file = open(path, O_RDONLY | O_CLOEXEC)
        guard file >= 0 else { return nil }
        defer { close(file) }
        var bytes: [UInt8] = []
        var buffer = [UInt8](repeating: 0, count: 4096)
        while bytes.count <= limitBytes {
            let count = Glibc.read(file, &buffer, buffer.count)
            if count < 0, errno == EINTR { continue }
            if count < 0 { return nil }
            if count == 0 { return bytes }
            bytes += buffer[..<count]
        }
        errno = EFBIG
        return nil
    }
}
