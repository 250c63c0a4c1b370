import SluiceBytes
import SluiceConfig
import SluiceHTTP
import SluiceIO
import Testing

@testable import SluiceProxy

/// Signatures that AWS publishes (its Signature Version 4 test suite, the IAM User Guide), and some that botocore 1.44
/// makes.
@Suite struct AWSRequestSignerTests {
    private static let time = 1_440_938_160  // 2015-08-30, 12:36 UTC
    private static let secret = Secret("wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY")

    private func sign(
        _ method: String, _ target: String, fields: [(String, String)] = [], body: String = "",
        signer: AWSRequestSigner = AWSRequestSigner(region: "us-east-1", service: "service"),
        authority: String = "example.amazonaws.com", token: String? = nil, everything: Bool = false
    ) -> RequestHead {
        var head = RequestHead(method: method, target: target, authority: authority)
        for (name, value) in fields { head.fields.append(name, value) }
        let credentials = AWSCredentials(
            accessKeyID: "AKIDEXAMPLE", secretAccessKey: Self.secret, sessionToken: token.map { Secret($0) })
        let bytes = Array(body.utf8)
        do throws(DigestError) {
            if everything {
                try signer.sign(&head, body: bytes.span, with: credentials, at: Self.time) { _ in true }
            } else {
                try signer.sign(&head, body: bytes.span, with: credentials, at: Self.time)
            }
        } catch {
            Issue.record("OpenSSL gave no digest")
        }
        return head
    }

    private func signature(_ head: RequestHead) -> String {
        String(head.fields.first("authorization")?.split(separator: "SignedHeaders=").last ?? "")
    }

    // MARK: - Published

    @Test func saysWhoSignedWhat() {
        let head = sign("GET", "/")
        let wanted =
            "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/service/aws4_request, "
            + "SignedHeaders=host;x-amz-date, "
            + "Signature=5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31"
        #expect(head.fields.first("authorization") == wanted)
        #expect(head.fields.first("x-amz-date") == "20150830T123600Z")
        #expect(head.fields.count == 2)
    }

    @Test(arguments: [
        ("GET", "/?Param2=value2&Param1=value1", "b97d918cfa904a5beff61c982a1b6f458b799221646efd99d3219ec94cdf2500"),
        ("POST", "/", "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b"),
        ("GET", "/\u{1234}", "8318018e0b0f223aa2bbf98705b62bb787dc9c0e678f255a891fd03141be5d85"),
        ("GET", "/./", "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31"),
        ("GET", "/example/..", "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31"),
        ("GET", "//", "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31"),
    ])
    func pathsAndQueries(method: String, target: String, wanted: String) {
        #expect(signature(sign(method, target)) == "host;x-amz-date, Signature=\(wanted)")
    }

    @Test func fieldsAreTrimmed() {
        let head = sign(
            "GET", "/", fields: [("My-Header1", " value1"), ("My-Header2", " \"a   b   c\"")], everything: true)
        let wanted = "acc3ed3afb60bb290fc8d2dd0098b9911fcaa05412b367055dee359757a9c736"
        #expect(signature(head) == "host;my-header1;my-header2;x-amz-date, Signature=\(wanted)")
        #expect(signature(sign("GET", "/", fields: [("My-Header1", "v")])).hasPrefix("host;x-amz-date,"))
    }

    @Test func theBodyIsSigned() {
        let type = "application/x-www-form-urlencoded"
        let head = sign("POST", "/", fields: [("Content-Type", type)], body: "Param1=value1")
        let wanted = "ff11897932ad3f4e8b18135d722051e5ac45fc38421b1da7b9d196a0fe09473a"
        #expect(signature(head) == "content-type;host;x-amz-date, Signature=\(wanted)")
    }

    @Test func theGuidesRequest() {
        let head = sign(
            "GET", "/?Action=ListUsers&Version=2010-05-08",
            fields: [("Content-Type", "application/x-www-form-urlencoded; charset=utf-8")],
            signer: AWSRequestSigner(region: "us-east-1", service: "iam"), authority: "iam.amazonaws.com")
        let wanted = "5d672d79c15b13162d9279b0855cfba6789a8edb4c82c400e06b5924a6f2b5d7"
        #expect(signature(head) == "content-type;host;x-amz-date, Signature=\(wanted)")
    }

    @Test func theGuidesKey() throws {
        let credentials = AWSCredentials(accessKeyID: "", secretAccessKey: Self.secret)
        let key = try AWSRequestSigner(region: "us-east-1", service: "iam").signingKey(credentials, day: "20150830")
        #expect(Digest.hex(key) == "c4afb1cc5771d871763a393e44b703571b55cc28424d1a5e86da6ed3c154a4b9")
    }

    // MARK: - Bedrock

    private static let model = "/model/anthropic.claude-3-haiku-20240307-v1"
    private static let profile = "arn%3Aaws%3Abedrock%3Aus-east-1%3A1%3Ainference-profile%2Fus.x-v1%3A0"

    @Test(arguments: [
        (
            model + "%3A0/converse-stream", "4268ffe60b6a1edd05706136e3821c575406cc0477c9e62cd77edbd2e0d7d4bd",
            "4d5a2ba6243bb4e44192e3f9cc273c58f41fa0008746dacb9f4139101c3d24ed"
        ),
        (
            model + ":0/converse-stream", "0797ca751c65577f0f997084c20c87594c09fbc47e014b0ad415184d3024dd55",
            "eb01a0f9ff780ffab6d559cce40cc9430d24f5526dd16b7417ac9c2fbd37e861"
        ),
        (
            "/model/\(profile)/invoke-with-response-stream",
            "3e3863b734bbece7b9b5751404f100e6dbb5dcc1e9afef0c8471701d1bce48e4",
            "a3d96e53cff2af5b856ef61766c5f821bd7322195b22666bb2aa2e94e50e1c6f"
        ),
        (
            "/a//b/../c/./%C3%A9/", "3004ec1a2aa7a1a7820336d3786159f56bf80f6f8ec9e8a27933cdda93bd1458",
            "ef83ee6d60b2580cb0e05eccc1332b2125934f10c230394076349d05fea2026a"
        ),
    ])
    func whatBotocoreSigns(target: String, plain: String, withToken: String) {
        func head(_ token: String?) -> RequestHead {
            sign(
                "POST", target, fields: [("Content-Type", "application/json"), ("X-Request-Id", "r")],
                body: #"{"messages":[]}"#, signer: AWSRequestSigner(region: "eu-central-1"),
                authority: "bedrock-runtime.eu-central-1.amazonaws.com", token: token)
        }
        #expect(signature(head(nil)) == "content-type;host;x-amz-date, Signature=\(plain)")
        let names = "content-type;host;x-amz-date;x-amz-security-token"
        #expect(signature(head("SESSION/TOKEN+=")) == "\(names), Signature=\(withToken)")
    }

    @Test func whatWasSignedBeforeIsSignedAnew() throws {
        let fresh = sign("GET", "/", token: "t")
        var again = fresh
        let credentials = AWSCredentials(
            accessKeyID: "AKIDEXAMPLE", secretAccessKey: Self.secret, sessionToken: Secret("t"))
        let signer = AWSRequestSigner(region: "us-east-1", service: "service")
        try signer.sign(&again, body: Span(), with: credentials, at: Self.time)
        #expect(again == fresh)
        try signer.sign(&again, body: Span(), with: credentials, at: Self.time + 1)
        #expect(signature(again) != signature(fresh) && again.fields.count == fresh.fields.count)
    }

    @Test func theDigestMayBeTold() {
        let head = sign(
            "GET", "/", signer: AWSRequestSigner(region: "us-east-1", service: "s3", tellsPayloadHash: true))
        let empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
        #expect(head.fields.first("x-amz-content-sha256") == empty)
        #expect(signature(head).hasPrefix("host;x-amz-content-sha256;x-amz-date,"))
    }

    // MARK: - Digests and time

    /// FIPS 180-4's and RFC 4231's examples.
    @Test func digests() throws {
        let abc = Digest.hex(try Digest.sha256(Array("abc".utf8).span))
        #expect(abc == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad")
        let (key, text) = (Array("Jefe".utf8), Array("what do ya want for nothing?".utf8))
        let code = Digest.hex(try Digest.hmacSHA256(key: key.span, text.span))
        #expect(code == "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843")
        let long = [UInt8](repeating: 0xAA, count: 131)
        let message = Array("Test Using Larger Than Block-Size Key - Hash Key First".utf8)
        let longCode = Digest.hex(try Digest.hmacSHA256(key: long.span, message.span))
        #expect(longCode == "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54")
    }

    @Test(arguments: [
        (0, "19700101T000000Z"), (1_440_938_160, "20150830T123600Z"), (951_782_399, "20000228T235959Z"),
        (951_782_400, "20000229T000000Z"), (951_868_800, "20000301T000000Z"), (4_107_542_399, "21000228T235959Z"),
        (4_107_542_400, "21000301T000000Z"), (-1, "19691231T235959Z"), (1_798_761_599, "20261231T235959Z"),
    ])
    func stamps(seconds: Int, text: String) {
        #expect(AWSTime.stamp(seconds) == text)
        let parts = Array(text).map(String.init)
        let date = parts[0..<4].joined() + "-" + parts[4..<6].joined() + "-" + parts[6..<8].joined()
        let clock = parts[9..<11].joined() + ":" + parts[11..<13].joined() + ":" + parts[13..<15].joined()
        #expect(AWSTime.seconds("\(date)T\(clock)Z") == seconds)
        #expect(AWSTime.seconds("\(date)T\(clock).123Z") == seconds)
    }

    @Test(arguments: [
        "", "Z", "2026-01-01", "2026-01-01T00:00:00", "2026-13-01T00:00:00Z", "2026-00-01T00:00:00Z",
        "2026-01-00T00:00:00Z", "2026-01-01 00:00:00Z", "2026-01-01T00:00:00+01:00", "2026-01-01T00:00:00.xZ",
    ])
    func whatIsNoTime(text: String) { #expect(AWSTime.seconds(text) == nil) }
}

@Suite struct AWSSigningTests {
    @Test(
        arguments: [
            ("bedrock-runtime.eu-central-1.amazonaws.com", "eu-central-1"),
            ("bedrock-runtime-fips.us-gov-west-1.amazonaws.com", "us-gov-west-1"),
            ("vpce-1.bedrock-runtime.us-east-2.vpce.amazonaws.com", "us-east-2"), ("127.0.0.1", nil), ("bedrock", nil),
            ("bedrock-runtime.example.com", nil),
        ] as [(String, String?)])
    func regions(host: String, region: String?) { #expect(AWSSigning.region(ofHost: host) == region) }
}
