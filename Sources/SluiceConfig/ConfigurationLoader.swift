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
        guard var section = try root(text, context) else { return nil }
        return ConfigurationReader(context: context).read(&section)
    }

    static func root(_ text: [UInt8], _ context: ReadingContext) throws(ConfigurationFaults) -> Section? {
        let root: YAMLNode?
        do throws(YAMLFault) {
            root = try YAMLReader.read(text)
        } catch {
            let issue = ConfigurationIssue(
                file: context.file, line: error.line, column: error.column, path: "", message: error.message)
            throw ConfigurationFaults(issues: [issue])
        }
        guard let root else { throw fault(context.file, "is empty") }
        return Section(root, path: "", context: context)
    }

    static func fault(_ file: String, _ message: String) -> ConfigurationFaults {
        ConfigurationFaults(issues: [ConfigurationIssue(file: file, line: 0, column: 0, path: "", message: message)])
    }

    static func readFile(_ path: String) -> [UInt8]? {
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
}
