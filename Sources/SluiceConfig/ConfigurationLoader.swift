import Glibc
import SluiceBytes
import SluiceStreams

/// Text to checked values. Every fault is found and reported, not only the first.
public enum ConfigurationLoader {
    private static let fileLimit = 4 << 20

    /// Reads and checks a file.
    public static func load(
        path: String, environment: [String: String]
    ) throws(ConfigurationFaults) -> Configuration {
        guard let text = readFile(path) else {
            throw fault(path, "cannot be read: \(String(cString: strerror(errno)))")
        }
        return try parse(text: text, file: path, environment: environment)
    }

    /// Checks a configuration's text. `file` names it in faults, and relative paths in it start at its folder.
    public static func parse(
        text: [UInt8], file: String, environment: [String: String]
    ) throws(ConfigurationFaults) -> Configuration {
        let context = ReadingContext(file: file, environment: environment, readFile: readFile)
        let configuration = try read(text, context)
        guard let configuration, context.issues.isEmpty else {
            throw ConfigurationFaults(issues: context.issues.sorted { ($0.line, $0.column) < ($1.line, $1.column) })
        }
        return configuration
    }

    /// Every key that exists, as `routes.path`: for the reference file and its test.
    public static func knownKeys(text: [UInt8]) -> Set<String> {
        let context = ReadingContext(file: "", environment: [:], readFile: { _ in nil })
        _ = try? read(text, context)
        return Set(
            context.knownKeys.map { key in
                // Without the positions in lists.
                key.split(separator: "[").map { $0.split(separator: "]").last.map(String.init) ?? "" }.joined()
            })
    }

    private static func read(_ text: [UInt8], _ context: ReadingContext) throws(ConfigurationFaults) -> Configuration? {
        let root: YAMLNode?
        do throws(YAMLFault) {
            root = try YAMLReader.read(text)
        } catch {
            let issue = ConfigurationIssue(
                file: context.file, line: error.line, column: error.column, path: "", message: error.message)
            throw ConfigurationFaults(issues: [issue])
        }
        guard let root else { throw fault(context.file, "is empty") }
        guard var section = Section(root, path: "", context: context) else { return nil }
        return ConfigurationReader(context: context).read(&section)
    }

    private static func fault(_ file: String, _ message: String) -> ConfigurationFaults {
        ConfigurationFaults(issues: [ConfigurationIssue(file: file, line: 0, column: 0, path: "", message: message)])
    }

    private static func readFile(_ path: String) -> [UInt8]? {
        let descriptor = open(path, O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else { return nil }
        defer { close(descriptor) }
        var bytes: [UInt8] = []
        var buffer = [UInt8](repeating: 0, count: 64 << 10)
        while true {
            let count = Glibc.read(descriptor, &buffer, buffer.count)
            if count < 0 && errno == EINTR { continue }
            guard count >= 0, bytes.count + count <= fileLimit else { return nil }
            if count == 0 { return bytes }
            bytes += buffer[..<count]
        }
    }

    // MARK: - Without a file

    /// What the environment's keys make: `OPENAI_API_KEY` and `OPENAI_BASE_URL`, else the upstream at `demoURL`.
    public static func zeroConfiguration(
        environment: [String: String], listen: String?, demoURL: String
    ) throws(ConfigurationFaults) -> Configuration {
        let key = environment["OPENAI_API_KEY"] ?? ""
        let base = environment["OPENAI_BASE_URL"] ?? "https://api.openai.com/v1"
        let address = key.isEmpty ? demoURL : base
        guard let url = UpstreamURL(address) else {
            throw fault("environment", "'\(address)' is no URL of an upstream (OPENAI_BASE_URL)")
        }
        let upstream = UpstreamSpec(
            name: key.isEmpty ? "demo" : "openai", url: url, apiKey: key.isEmpty ? nil : Secret(key))
        return Configuration(
            listeners: [ListenerSpec(address: listen ?? "0.0.0.0:8080")], upstreams: [upstream], routes: zeroRoutes())
    }

    private static func zeroRoutes() -> [Route] {
        var chat = Route(
            path: .exact("/v1/chat/completions"), request: .openAIChat, response: .format(.openAIChat), upstream: 0)
        chat.methods = ["POST"]
        var models = Route(
            path: .exact("/v1/models"), request: .passthrough, response: .format(.passthrough), upstream: 0)
        models.methods = ["GET"]
        models.upstreamPath = "/models"
        let framings: [(String, Route.Response)] = [
            ("/stream", .auto), ("/stream/text", .format(.text)), ("/stream/sse", .format(.sseText)),
            ("/stream/json", .format(.sseJSON)), ("/stream/ndjson", .format(.ndjson)),
        ]
        let prompts = framings.map { path, response in
            var route = Route(path: .exact(path), request: .prompt, response: response, upstream: 0)
            route.methods = ["GET", "POST"]
            return route
        }
        return [chat, models] + prompts
    }
}
