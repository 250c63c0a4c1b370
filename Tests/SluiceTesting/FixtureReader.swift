import Foundation

/// Files under `Tests/Fixtures`: `<dialect>/<case>.<extension>` as a provider sent it, and beside it
/// `<case>.expected.json`, what a right reader ends up with.
public enum FixtureReader {
    private static let root = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
        .appending(path: "Fixtures")

    /// The names of a dialect's cases, sorted; empty if there is no such folder.
    public static func cases(_ dialect: String, _ fileExtension: String = "sse") -> [String] {
        let folder = root.appending(path: dialect)
        let files = (try? FileManager.default.contentsOfDirectory(atPath: folder.path())) ?? []
        let suffix = "." + fileExtension
        return files.filter { $0.hasSuffix(suffix) }.map { String($0.dropLast(suffix.count)) }.sorted()
    }

    public static func bytes(_ dialect: String, _ name: String, _ fileExtension: String = "sse") throws -> [UInt8] {
        try Array(Data(contentsOf: root.appending(path: "\(dialect)/\(name).\(fileExtension)")))
    }

    /// `<case>.expected.json`, read by Foundation and not by what is tested.
    public static func expected(_ dialect: String, _ name: String) throws -> [String: Any] {
        let data = try Data(contentsOf: root.appending(path: "\(dialect)/\(name).expected.json"))
        return try JSONSerialization.jsonObject(with: data) as? [String: Any] ?? [:]
    }
}
