import CLinux
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
    /// Of a whole body. Workflows take texts and no files, and reading a form costs more than reading JSON.
    static let bodyLimit = 1 << 20
    static let nameLimit = 1 << 10
    /// Of a part's head.
    static let headLimit = 8 << 10
    private static let depthLimit = 16

    static func object(_ fields: [(name: String, value: String)]) throws(Fault) -> JSONValue {
        guard fields.count <= fieldLimit else { throw Fault(message: "more than \(fieldLimit) fields") }
        var members: [(key: String, value: JSONValue)] = []
        for (name, value) in fields {
            try checkName(name.utf8.count)
            let keys = keys(name)
            guard !keys.isEmpty, keys.count <= depthLimit else {
                throw Fault(message: "'\(name.prefix(40))' is no name")
            }
            put(JSONValue(value), at: keys[...], into: &members)
        }
        return .object(members)
    }

    private static func checkName(_ count: Int) throws(Fault) {
        guard count <= nameLimit else { throw Fault(message: "a field's name is longer than \(nameLimit) bytes") }
    }

    /// `a[b][c]` is a, b, c. Of a name that is nested too deeply there is one more than may be, with the rest in it.
    private static func keys(_ name: String) -> [String] {
        name.utf8.split(separator: ASCII.leftBracket, maxSplits: depthLimit).map { part in
            String(Substring(part.last == ASCII.rightBracket ? part.dropLast() : part))
        }
    }

    private static func put(
        _ value: JSONValue, at keys: ArraySlice<String>, into members: inout [(key: String, value: JSONValue)]
    ) {
        guard let key = keys.first else { return }
        // By bytes: what is equal in Unicode only is slow to compare, and another key in JSON.
        let place = members.firstIndex { ASCII.equal($0.key.utf8Span.span, key.utf8Span.span) }
        var inner = value
        if keys.count > 1 {
            // What was a text before gives way.
            var own = place.flatMap { members[$0].value.members } ?? []
            put(value, at: keys.dropFirst(), into: &own)
            inner = .object(own)
        }
        if let place { members[place].value = inner } else { members.append((key: key, value: inner)) }
    }

    // MARK: - multipart/form-data (RFC 7578)

    static func multipart(_ bytes: [UInt8], boundary: String) throws(Fault) -> [(name: String, value: String)] {
        let delimiter = Array("--\(boundary)".utf8)
        guard (1...70).contains(boundary.utf8.count), var place = find(delimiter, in: bytes[...]) else {
            throw Fault(message: "its boundary is not in it")
        }
        var fields: [(name: String, value: String)] = []
        while true {
            place += delimiter.count
            if bytes[place...].starts(with: "--".utf8) { return fields }
            guard let line = find([ASCII.cr, ASCII.lf], in: bytes[place...]),
                bytes[place..<line].allSatisfy({ $0 == ASCII.space || $0 == ASCII.tab }),
                let end = find([ASCII.cr, ASCII.lf] + delimiter, in: bytes[line...])
            else { throw Fault(message: "a part of it does not end") }
            guard fields.count < fieldLimit else { throw Fault(message: "more than \(fieldLimit) fields") }
            fields.append(try part(bytes[min(line + 2, end)..<end]))
            place = end + 2
        }
    }

    private static func part(_ bytes: ArraySlice<UInt8>) throws(Fault) -> (name: String, value: String) {
        let blank = [ASCII.cr, ASCII.lf, ASCII.cr, ASCII.lf]
        guard let end = find(blank, in: bytes.prefix(headLimit + blank.count)) else {
            let isLong = bytes.count >= headLimit + blank.count
            throw Fault(
                message: isLong ? "a part's head is longer than \(headLimit) bytes" : "a part of it has no head")
        }
        var head = bytes[..<end]
        while !head.isEmpty {
            let line = head[..<(find([ASCII.cr, ASCII.lf], in: head) ?? head.endIndex)]
            head = head.dropFirst(line.count + 2)
            guard isDisposition(line) else { continue }
            guard let name = value(of: "name", in: line) else { break }
            try checkName(name.count)
            let text = String(decoding: name, as: UTF8.self)
            if value(of: "filename", in: line) != nil {
                throw Fault(message: "'\(text.prefix(40))' is a file, which no workflow here takes")
            }
            return (text, String(decoding: bytes[(end + blank.count)...], as: UTF8.self))
        }
        throw Fault(message: "a part of it has no name")
    }

    private static func isDisposition(_ line: ArraySlice<UInt8>) -> Bool {
        let name: StaticString = "content-disposition:"
        let start = line.prefix(name.utf8CodeUnitCount)
        return ASCII.equalFolded(start.span, name)
    }

    /// Of a field such as `form-data; name="a"`; write the name in lower case.
    static func parameter(_ name: StaticString, of field: String) -> String? {
        value(of: name, in: Array(field.utf8)[...]).map { String(decoding: $0, as: UTF8.self) }
    }

    private static func value(of name: StaticString, in field: ArraySlice<UInt8>) -> ArraySlice<UInt8>? {
        for part in field.split(separator: ASCII.semicolon).dropFirst() {
            guard let equals = part.firstIndex(of: UInt8(ascii: "=")) else { continue }
            let key = trimmed(part[..<equals])
            guard ASCII.equalFolded(key.span, name) else { continue }
            let value = trimmed(part[(equals + 1)...])
            if value.isEmpty { continue }
            let isQuoted = value.count > 1 && value.first == ASCII.quote && value.last == ASCII.quote
            return isQuoted ? value.dropFirst().dropLast() : value
        }
        return nil
    }

    private static func trimmed(_ text: ArraySlice<UInt8>) -> ArraySlice<UInt8> {
        var text = text
        while text.first == ASCII.space { text = text.dropFirst() }
        while text.last == ASCII.space { text = text.dropLast() }
        return text
    }

    /// In a time that grows with the bytes alone, whatever they are made of.
    private static func find(_ needle: [UInt8], in bytes: ArraySlice<UInt8>) -> Int? {
        let offset = bytes.withUnsafeBytes { text in
            needle.withUnsafeBytes { needle -> Int? in
                guard let start = text.baseAddress, let sought = needle.baseAddress,
                    let found = memmem(start, text.count, sought, needle.count)
                else { return nil }
                return UnsafeRawPointer(found) - start
            }
        }
        return offset.map { bytes.startIndex + $0 }
    }
}
