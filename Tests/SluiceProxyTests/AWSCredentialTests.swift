import Foundation
import SluiceConfig
import Testing

@testable import SluiceProxy

@Suite struct AWSCredentialTests {
    private let shared = """
        # made by hand
        [default]
        aws_access_key_id = AKIDDEFAULT
        aws_secret_access_key=secret/+=1

        ; another
        [ work ]
          AWS_ACCESS_KEY_ID\t=\tAKIDWORK
        aws_secret_access_key = two
        aws_session_token = token==
        region = eu-west-1
        [empty]
        """

    private func withFile<R>(_ text: String, _ body: (String) throws -> R) throws -> R {
        let file = FileManager.default.temporaryDirectory.appending(path: "sluice-\(UUID().uuidString)")
        try Data(text.utf8).write(to: file)
        defer { try? FileManager.default.removeItem(at: file) }
        return try body(file.path())
    }

    // MARK: - Environment and file

    @Test func environment() throws {
        var variables = ["AWS_ACCESS_KEY_ID": "A", "AWS_SECRET_ACCESS_KEY": "S", "AWS_SESSION_TOKEN": ""]
        let plain = AWSCredentials(accessKeyID: "A", secretAccessKey: Secret("S"))
        #expect(try AWSCredentialSource.environment.load(variables) == plain)
        variables["AWS_SESSION_TOKEN"] = "T"
        #expect(try AWSCredentialSource.automatic.load(variables).sessionToken == Secret("T"))
        variables["AWS_SECRET_ACCESS_KEY"] = nil
        #expect(throws: AWSCredentialError.self) { try AWSCredentialSource.environment.load(variables) }
    }

    @Test func theSharedFile() throws {
        try withFile(shared) { path throws in
            let file = AWSCredentialSource.file(path: path, profile: nil)
            let first = AWSCredentials(accessKeyID: "AKIDDEFAULT", secretAccessKey: Secret("secret/+=1"))
            let work = AWSCredentials(
                accessKeyID: "AKIDWORK", secretAccessKey: Secret("two"), sessionToken: Secret("token=="))
            #expect(try file.load([:]) == first)
            #expect(try file.load(["AWS_PROFILE": "work"]) == work)
            #expect(try AWSCredentialSource.file(path: path, profile: "work").load([:]) == work)
            #expect(try AWSCredentialSource.automatic.load(["AWS_SHARED_CREDENTIALS_FILE": path]) == first)
            for profile in ["empty", "none"] {
                #expect(throws: AWSCredentialError.self) {
                    try AWSCredentialSource.file(path: path, profile: profile).load([:])
                }
            }
        }
        #expect(throws: AWSCredentialError("/no/such/file cannot be read: No such file or directory")) {
            try AWSCredentialSource.file(path: "/no/such/file", profile: nil).load([:])
        }
        #expect(throws: AWSCredentialError.self) { try AWSCredentialSource.automatic.load(["HOME": "/no/such"]) }
    }

    @Test func noSecretIsShown() {
        let credentials = AWSCredentials(
            accessKeyID: "A", secretAccessKey: Secret("hidden1"), sessionToken: Secret("hidden2"))
        #expect(!"\(credentials) \(String(reflecting: credentials))".contains("hidden"))
    }

    // MARK: - Container

    private func endpoint(_ url: String, _ more: [String: String] = [:]) -> [String: String] {
        ["AWS_CONTAINER_CREDENTIALS_FULL_URI": url].merging(more) { $1 }
    }

    @Test(arguments: [
        "http://169.254.170.2/x", "http://169.254.170.23:80/v1/credentials", "http://127.0.0.1:9/x", "http://[::1]:9",
        "http://localhost/x?y", "http://[fd00:ec2::23]/v1",
    ])
    func whereCredentialsMayComeFrom(url: String) throws { _ = try AWSContainerEndpoint(endpoint(url)) }

    @Test(arguments: [
        "https://127.0.0.1/x", "http://example.com/", "http://10.0.0.1/", "http://169.254.169.254/", "http://[::2]/",
        "http://127.0.0.1:0/", "http://127.0.0.1:x/", "http://", "127.0.0.1", "http://127.0.0.1/a b",
        "http://127.0.0.1@evil.example/", "http://127.0.0.1/\r\nX: y",
    ])
    func whereTheyMayNot(url: String) {
        #expect(throws: AWSCredentialError.self) { try AWSContainerEndpoint(endpoint(url)) }
    }

    @Test func theRelativeOneComesFirst() throws {
        let variables = endpoint("http://localhost/no", ["AWS_CONTAINER_CREDENTIALS_RELATIVE_URI": "/v2/id"])
        let found = try AWSContainerEndpoint(variables)
        #expect(found.authority == "169.254.170.2" && found.target == "/v2/id" && found.port == 80)
    }

    private static let answer =
        #"{"RoleArn":"r","AccessKeyId":"ASIA","SecretAccessKey":"S","Token":"T\/","Expiration":"2030-01-01T00:00:00Z"}"#
    private static let wanted = AWSCredentials(
        accessKeyID: "ASIA", secretAccessKey: Secret("S"), sessionToken: Secret("T/"), expiration: 1_893_456_000)

    @Test func credentialsAreFetched() throws {
        let server = try StubServer { _ in StubServer.answer(200, Self.answer) }
        let variables = endpoint(server.url, ["AWS_CONTAINER_AUTHORIZATION_TOKEN": "Bearer abc"])
        #expect(try AWSCredentialSource.automatic.load(variables) == Self.wanted)
        let request = try #require(server.requests.first)
        #expect(request.hasPrefix("GET /creds?x=1 HTTP/1.1\r\nHost: 127.0.0.1:"))
        #expect(request.contains("\r\nAuthorization: Bearer abc\r\n"))
    }

    @Test func chunkedAnswersAndThoseUntilTheEndAreRead() throws {
        let middle = Self.answer.utf8.count / 2
        let (first, second) = (Self.answer.prefix(middle), Self.answer.dropFirst(middle))
        let size = { (text: Substring) in String(text.utf8.count, radix: 16) }
        let chunks = "\(size(first))\r\n\(first)\r\n\(size(second))\r\n\(second)\r\n0\r\n\r\n"
        for body in ["Transfer-Encoding: chunked\r\n\r\n\(chunks)", "\r\n\(Self.answer)"] {
            let server = try StubServer { _ in "HTTP/1.1 200 OK\r\n\(body)" }
            #expect(try AWSContainerEndpoint(endpoint(server.url)).fetch() == Self.wanted)
        }
    }

    @Test func theTokensFileIsReadEachTime() throws {
        let server = try StubServer { _ in StubServer.answer(200, Self.answer) }
        try withFile("first\n") { path in
            let more = ["AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE": path, "AWS_CONTAINER_AUTHORIZATION_TOKEN": "no"]
            let found = try AWSContainerEndpoint(endpoint(server.url, more))
            _ = try found.fetch()
            try Data("second".utf8).write(to: URL(filePath: path))
            _ = try found.fetch()
            try Data("two\nlines".utf8).write(to: URL(filePath: path))
            #expect(throws: AWSCredentialError.self) { try found.fetch() }
        }
        #expect(server.requests.count == 2)
        #expect(server.requests.first?.hasSuffix("\r\nAuthorization: first\r\n\r\n") == true)
        #expect(server.requests.last?.hasSuffix("\r\nAuthorization: second\r\n\r\n") == true)
    }

    @Test(arguments: [
        StubServer.answer(404, #"{"code":"NoSuch","message":"unknown id"}"#), StubServer.answer(200, "no JSON"),
        StubServer.answer(200, #"{"AccessKeyId":"A"}"#), "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\ncut",
        "SMTP\r\n\r\n",
        "", StubServer.answer(200, String(repeating: "x", count: 70_000)),
        StubServer.answer(200, #"{"AccessKeyId":"A","SecretAccessKey":"S","Expiration":"tomorrow"}"#),
    ])
    func answersThatAreNoneAreErrors(answer: String) throws {
        let server = try StubServer { _ in answer }
        #expect(throws: AWSCredentialError.self) { try AWSContainerEndpoint(endpoint(server.url)).fetch() }
    }

    @Test func whyItWasRefusedIsTold() throws {
        let server = try StubServer { _ in StubServer.answer(403, #"{"message":"unknown id"}"#) }
        #expect(throws: AWSCredentialError("the container's credentials were answered with status 403 unknown id")) {
            try AWSContainerEndpoint(endpoint(server.url)).fetch()
        }
    }

    // MARK: - Store

    @Test func constantCredentialsNeedNoThread() throws {
        let store = try AWSCredentialStore(.fixed(Self.wanted), environment: [:]) { 0 }
        #expect(store.waitForFirst(upTo: 0))
        #expect(store.current() == .success(Self.wanted))
        let none = try AWSCredentialStore(.environment, environment: [:]) { 0 }
        #expect(throws: AWSCredentialError.self) { try none.current().get() }
    }

    @Test func theLastGoodOnesStayUntilTheyEnd() throws {
        let (isBroken, now) = (Shared(false), Shared(1_893_456_000 - 1000))
        let server = try StubServer { _ in
            isBroken.value ? StubServer.answer(500, "{}") : StubServer.answer(200, Self.answer)
        }
        let store = try AWSCredentialStore(.container, environment: endpoint(server.url)) { now.value }
        #expect(store.waitForFirst(upTo: 10_000))
        #expect(store.current() == .success(Self.wanted))
        isBroken.change { $0 = true }
        store.refresh()
        #expect(eventually { server.requests.count == 2 })
        #expect(store.current() == .success(Self.wanted))
        now.change { $0 = 1_893_456_000 }
        #expect(eventually { Self.words(store).contains("status 500") })
        #expect(Self.words(store).hasPrefix("the AWS credentials have expired"))
        isBroken.change { $0 = false }
        now.change { $0 -= 100 }
        store.refresh()
        #expect(eventually { store.current() == .success(Self.wanted) })
    }

    /// Not all the time, though they end soon.
    @Test func theyAreFetchedAgainBeforeTheyEnd() throws {
        let (now, ends) = (Shared(0), Shared("1970-01-01T00:05:01Z"))
        let server = try StubServer { _ in
            let answer = Self.answer.replacingOccurrences(of: "2030-01-01T00:00:00Z", with: ends.value)
            return StubServer.answer(200, answer)
        }
        let store = try AWSCredentialStore(.container, environment: endpoint(server.url)) { now.value }
        #expect(store.waitForFirst(upTo: 10_000))
        #expect(try store.current().get().expiration == 301)
        ends.change { $0 = "1970-01-01T01:00:00Z" }
        usleep(50_000)
        #expect(server.requests.count == 1)
        store.refresh()
        #expect(eventually { (try? store.current().get().expiration) == 3600 })
    }

    @Test func whatIsNotThereYetIsAnError() throws {
        let store = try AWSCredentialStore(.container, environment: endpoint("http://127.0.0.1:1/")) { 0 }
        #expect(store.waitForFirst(upTo: 10_000))
        #expect(Self.words(store).contains("cannot be fetched: connect: Connection refused"))
    }

    private static func words(_ store: AWSCredentialStore) -> String {
        if case .failure(let error) = store.current() { error.description } else { "" }
    }
}
