import SluiceBytes
import SluiceHTTP
import SluiceIO

/// Signs requests to AWS with Signature Version 4 ("Create a signed AWS API request", IAM User Guide). Pure: time is
/// handed in.
///
/// What is signed: the host, the content's type, and all `x-amz-` fields. Anything else may be changed on the way.
struct AWSRequestSigner: Sendable {
    static let algorithm = "AWS4-HMAC-SHA256"

    let region: String
    let service: String
    /// Also tells the body's digest in a field; only S3 asks for it.
    let tellsPayloadHash: Bool

    init(region: String, service: String = "bedrock", tellsPayloadHash: Bool = false) {
        (self.region, self.service, self.tellsPayloadHash) = (region, service, tellsPayloadHash)
    }

    /// Puts the date, the session's token and the signature into the head, in place of any that it had. `time`: seconds
    /// since 1970.
    func sign(
        _ head: inout RequestHead, body: Span<UInt8>, with credentials: AWSCredentials, at time: Int
    ) throws(DigestError) {
        try sign(&head, body: body, with: credentials, at: time) { name in
            name == "host" || name == "content-type" || name.hasPrefix("x-amz-")
        }
    }

    func sign(
        _ head: inout RequestHead, body: Span<UInt8>, with credentials: AWSCredentials, at time: Int,
        signing isSigned: (String) -> Bool
    ) throws(DigestError) {
        let stamp = AWSTime.stamp(time)
        let payloadHash = Digest.hex(try Digest.sha256(body))
        let fields = head.fields
        head.fields = fields.filtered { index in
            let name = fields.name(at: index)
            return
                !(ASCII.equalFolded(name, "authorization") || ASCII.equalFolded(name, "x-amz-date")
                || ASCII.equalFolded(name, "x-amz-security-token") || ASCII.equalFolded(name, "x-amz-content-sha256"))
        }
        head.fields.append("X-Amz-Date", stamp)
        if let token = credentials.sessionToken { head.fields.append("X-Amz-Security-Token", token.revealed) }
        if tellsPayloadHash { head.fields.append("X-Amz-Content-Sha256", payloadHash) }
        let request = AWSCanonicalRequest(head, payloadHash: payloadHash, isSigned: isSigned)
        let scope = "\(stamp.prefix(8))/\(region)/\(service)/aws4_request"
        let requestHash = Digest.hex(try Digest.sha256(Array(request.text.utf8).span))
        let words = "\(Self.algorithm)\n\(stamp)\n\(scope)\n\(requestHash)"
        let key = try signingKey(credentials, day: String(stamp.prefix(8)))
        let signature = Digest.hex(try Digest.hmacSHA256(key: key.span, Array(words.utf8).span))
        let owner = "Credential=\(credentials.accessKeyID)/\(scope)"
        head.fields.append(
            "Authorization",
            "\(Self.algorithm) \(owner), SignedHeaders=\(request.signedNames), Signature=\(signature)")
    }

    /// A key that is good for one day, one region and one service.
    func signingKey(_ credentials: AWSCredentials, day: String) throws(DigestError) -> [UInt8] {
        var key = Array("AWS4\(credentials.secretAccessKey.revealed)".utf8)
        for word in [day, region, service, "aws4_request"] {
            key = try Digest.hmacSHA256(key: key.span, Array(word.utf8).span)
        }
        return key
    }
}
