import Foundation
import Testing

/// Recorded provider streams: `Tests/Fixtures/<dialect>/<case>.<ext>` with what they must decode to beside them.
public struct Fixture: Sendable, CustomTestStringConvertible {
    public let name: String
    public let bytes: [UInt8]
    public let expected: [UInt8]

    public var testDescription: String { name }

    /// The expectation as JSON; an empty object if it cannot be read.
    public var json: [String: Any] {
        (try? JSONSerialization.jsonObject(with: Data(expected))) as? [String: Any] ?? [:]
    }

    /// All cases of a dialect, by name. Empty if the folder is missing: tests check the count.
    public static func all(_ dialect: String) -> [Fixture] {
        let root = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
        let folder = root.appending(path: "Fixtures/\(dialect)")
        let files = (try? FileManager.default.contentsOfDirectory(at: folder, includingPropertiesForKeys: nil)) ?? []
        let streams = files.filter { $0.pathExtension != "json" || !$0.lastPathComponent.hasSuffix(".expected.json") }
        return streams.sorted { $0.lastPathComponent < $1.lastPathComponent }.compactMap { file in
            let expected = file.deletingPathExtension().appendingPathExtension("expected.json")
            guard let bytes = try? Data(contentsOf: file), let json = try? Data(contentsOf: expected) else {
                return nil
            }
            return Fixture(name: file.lastPathComponent, bytes: [UInt8](bytes), expected: [UInt8](json))
        }
    }
}
