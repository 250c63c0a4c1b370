import SluiceBytes
import SluiceConfig
import Testing

@Suite struct ResumeReaderTests {
    private func parse(_ resume: String, path: String = "/x", more: String = "") throws(ConfigurationFaults)
        -> Configuration
    {
        let text = """
            listeners: [{address: ':0'}]
            upstreams: {a: {dialect: openai-chat, url: 'http://h'}}
            routes: [{path: \(path), request: prompt, response: text, upstream: a, resume: \(resume)}]
            \(more)
            """
        return try ConfigurationLoader.parse(text: Array(text.utf8), file: "f", environment: [:])
    }

    private func faults(_ resume: String, path: String = "/x", request: String = "prompt") -> [String] {
        let text = """
            listeners: [{address: ':0'}]
            upstreams: {a: {dialect: openai-chat, url: 'http://h'}}
            routes: [{path: \(path), request: \(request), response: \(request == "prompt" ? "text" : "passthrough"), \
            upstream: a, resume: \(resume)}]
            """
        do throws(ConfigurationFaults) {
            _ = try ConfigurationLoader.parse(text: Array(text.utf8), file: "f", environment: [:])
            return []
        } catch {
            return error.issues.map { "\($0.path): \($0.message)" }
        }
    }

    @Test func isOffUnlessAskedFor() throws {
        #expect(try parse("off").routes[0].resume == nil)
        #expect(try parse("false").routes[0].resume == nil)
        let usual = try #require(try parse("{}").routes[0].resume)
        #expect(usual == ResumeSpec() && usual.bufferBytes == 1 << 20 && usual.store == .memory)
        #expect(usual.ttl == .seconds(60) && usual.grace == .seconds(30))
        #expect(try parse("{}").limits.resumeBuffers == 64 << 20)
    }

    @Test func allKeys() throws {
        let made = try parse(
            "{buffer: 64KiB, ttl: 5m, grace: 0, store: redis}",
            more: "limits: {resume_buffers: 8MiB}\nredis: {url: 'redis://h'}")
        var spec = ResumeSpec()
        (spec.bufferBytes, spec.ttl, spec.grace, spec.store) = (64 << 10, .seconds(300), .zero, .redis)
        #expect(made.routes[0].resume == spec && made.limits.resumeBuffers == 8 << 20)
    }

    @Test func whereItMakesNoSense() {
        #expect(
            faults("{}", path: "'/x/*'") == [
                "routes[0].resume: needs an exact path: PATH/NAME/stream is where an answer is asked for again"
            ])
        #expect(
            faults("{}", request: "passthrough") == [
                "routes[0].resume: a passthrough answer is its upstream's own: nobody knows where to go on in it"
            ])
        #expect(faults("{buffer: 100}") == ["routes[0].resume.buffer: must be from 4KiB to 64MiB"])
        #expect(faults("{buffers: 1MiB}").count == 1 && faults("maybe").count == 1)
    }
}
