import SluiceBytes
import SluiceHTTP
import SluiceStreams

/// The fields of a form as a JSON object, as model-compose reads them: `input[prompt]=hi` is `{"input":{"prompt":"hi"}}`. Values are
/// texts.
enum FormFields {
    struct Fault: Error, Equatable {
        let message: String
    }
    static let fieldLimit = 1000
    private static let depthLimit = 16

    static func object(_ fields: [(name: String, value: String)]) throws(Fault) -> JSONValue {
        guard fields.count <= fieldLimit else { throw Fault(message: "more than \(fieldLimit) fields") }
        var object = JSONValue.object([])
        for (name, value) in fields {
            let keys = keys(name)
            guard !keys.isEmpty, keys.count <= depthLimit else {
                throw Fault(message: "'\(name.prefix(40))' is no name")
            }
            put(JSONValue(value), at: keys[...], into: &object)
        }
        return object
    }

    /// `a[b][c]` is a, b, c.
    private static func keys(_ name: String) -> [String] {
        name.split(separator: "[").map { part in part.hasSuffix("]") ? String(part.dropLast()) : String(part) }
    }

    private static func put(_ value: JSONValue, at keys: ArraySlice<String>, into object: inout JSONValue) {
        guard let key = keys.first else { return }
        if keys.count == 1 { return object[key] = value }
        var inner = object[key] ?? .object([])
        // What was a text before gives way.
        if inner.members == nil { inner = .object([]) }
        put(value, at: keys.dropFirst(), into: &inner)
        object[key] = inner
    }

    // MARK: - multipart/form-data (RFC 7578)

    static func multipart(_ bytes: [UInt8], boundary: String) throws(Fault) -> [(name: String, value: String)] {
        let delimiter = Array("--\(boundary)".utf8)
        guard (1...70).contains(boundary.utf8.count), var place = find(delimiter, in: bytes, from: 0) else {
            throw Fault(message: "its boundary is not in it")
        }
        var fields: [(name: String, value: String)] = []
        while true {
            place += delimiter.count
            if bytes[place...].starts(with: "--".utf8) { return fields }
            guard let line = find([ASCII.cr, ASCII.lf], in: bytes, from: place),
                bytes[place..<line].allSatisfy({ $0 == ASCII.space || $0 == ASCII.tab }),
                let end = find([ASCII.cr, ASCII.lf] + delimiter, in: bytes, from: line)
            else { throw Fault(message: "a part of it does not end") }
            guard fields.count < fieldLimit else { throw Fault(message: "more than \(fieldLimit) fields") }
            fields.append(try part(bytes[min(line + 2, end)..<end]))
            place = end + 2
        }
    }

    private static func part(_ bytes: ArraySlice<UInt8>) throws(Fault) -> (name: String, value: String) {
        let all = Array(bytes)
        guard let end = find([ASCII.cr, ASCII.lf, ASCII.cr, ASCII.lf], in: all, from: 0) else {
            throw Fault(message: "a part of it has no head")
        }
        let head = String(decoding: all[..<end], as: UTF8.self)
        for line in head.split(separator: "\r\n") where line.lowercased().hasPrefix("content-disposition:") {
            guard let name = parameter("name", of: line) else { break }
            if parameter("filename", of: line) != nil {
                throw Fault(message: "'\(name.prefix(40))' is a file, which no workflow here takes")
            }
            return (name, String(decoding: all[(end + 4)...], as: UTF8.self))
        }
        throw Fault(message: "a part of it has no name")
    }

    /// Of a field such as `form-data; name="a"`.
    static func parameter(_ name: String, of field: some StringProtocol) -> String? {
        for part in field.split(separator: ";").dropFirst() {
            let pair = part.split(separator: "=", maxSplits: 1)
            guard pair.count == 2, trimmed(pair[0]).lowercased() == name else { continue }
            let value = trimmed(pair[1])
            return value.hasPrefix("\"") && value.hasSuffix("\"") && value.count > 1
                ? String(value.dropFirst().dropLast()) : value
        }
        return nil
    }

    private static func trimmed(_ text: some StringProtocol) -> String {
        String(
            decoding: text.utf8.drop { $0 == ASCII.space }.reversed().drop { $0 == ASCII.space }.reversed(),
            as: UTF8.self)
    }

    private static func find(_ needle: [UInt8], in bytes: [UInt8], from start: Int) -> Int? {
        guard let first = needle.first, start <= bytes.count else { return nil }
        var index = start
        while let found = bytes[index...].firstIndex(of: first) {
            if bytes[found...].starts(with: needle) { return found }
            index = found + 1
        }
        return nil
    }
}
