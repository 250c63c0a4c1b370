import SluiceBytes

/// A JSON document, for request bodies and errors: keeps the order of members and the text of numbers and strings, which are
/// slices of the bytes that were read.
public enum JSONValue: Equatable, Sendable {
    case null
    case bool(Bool)
    /// As it was written: large integers and decimals come out as they went in.
    case number(String)
    case string(JSONString)
    /// One string whose pieces are joined when it is written: a data URL of ten megabytes is not put together before. Never read.
    case pieces([JSONString])
    case array([JSONValue])
    case object([(key: String, value: JSONValue)])

    public static func == (left: JSONValue, right: JSONValue) -> Bool {
        switch (left, right) {
        case (.null, .null): true
        case (.bool(let a), .bool(let b)): a == b
        case (.number(let a), .number(let b)): a == b
        case (.string(let a), .string(let b)): a == b
        case (.pieces(let a), .pieces(let b)): a == b
        case (.array(let a), .array(let b)): a == b
        case (.object(let a), .object(let b)): a.elementsEqual(b) { $0.key == $1.key && $0.value == $1.value }
        default: false
        }
    }

    /// nil for anything but one whole JSON value, nested at most `JSONScanner.depthLimit` deep.
    /// Bytes that are not UTF-8 become U+FFFD first.
    public static func parse(_ text: [UInt8]) -> JSONValue? {
        let text = UTF8Text.valid(text)
        var scanner = JSONScanner(text.span)
        guard let value = read(&scanner, text), scanner.isAtEnd() else { return nil }
        return value
    }

    /// nil also for what `JSONScanner` lets pass though it is no JSON: control characters in strings, escapes that there are not,
    /// numbers that begin with 0. For text that others wrote and that goes on as a part of another document.
    public static func parse(strictly text: [UInt8]) -> JSONValue? {
        JSONGrammar.isValue(text.span) ? parse(text) : nil
    }

    /// Copies the text first, since the values are slices of it.
    public static func parse(_ text: Span<UInt8>) -> JSONValue? { parse(text.withUnsafeBufferPointer { Array($0) }) }
    public static func parse(_ text: String) -> JSONValue? { parse(Array(text.utf8)) }

    /// A member of an object; nil if there is none, or this is no object. Assigning nil takes it out.
    public subscript(key: String) -> JSONValue? {
        get {
            guard case .object(let members) = self else { return nil }
            return members.first { $0.key == key }?.value
        }
        set {
            guard case .object(var members) = self else { return }
            let position = members.firstIndex { $0.key == key }
            switch (position, newValue) {
            case (let position?, let value?): members[position].value = value
            case (let position?, nil): members.remove(at: position)
            case (nil, let value?): members.append((key: key, value: value))
            case (nil, nil): return
            }
            self = .object(members)
        }
    }

    /// What stands at a path of keys and indexes, as text; nil for objects and arrays.
    public func text(at path: [String]) -> String? {
        switch value(at: path) {
        case .string(let string)?: return string.text
        case .number(let text)?: return text
        case .bool(let flag)?: return flag ? "true" : "false"
        case .null?: return "null"
        case .pieces?, .array?, .object?, nil: return nil
        }
    }

    /// The message of an error document: `error.message`, `error`, `message`, `detail`, or that of the first of several `errors`;
    /// Google wraps the document of a stream in an array.
    public var errorMessage: String? {
        let document = elements?.first ?? self
        let paths = [["error", "message"], ["error"], ["message"], ["detail"], ["errors", "0", "message"]]
        return paths.lazy.compactMap { document.text(at: $0) }.first
    }

    // MARK: - Reading

    private static func read(_ scanner: inout JSONScanner, _ text: [UInt8]) -> JSONValue? {
        let bytes = scanner.bytes
        switch scanner.peek() {
        case .object:
            guard scanner.enterObject() else { return nil }
            var members: [(key: String, value: JSONValue)] = []
            while let key = scanner.nextKey() {
                guard let value = read(&scanner, text) else { return nil }
                members.append((key: JSONString(raw: text[key]).text, value: value))
            }
            return scanner.isValid ? .object(members) : nil
        case .array:
            guard scanner.enterArray() else { return nil }
            var elements: [JSONValue] = []
            while scanner.nextElement() {
                guard let value = read(&scanner, text) else { return nil }
                elements.append(value)
            }
            return scanner.isValid ? .array(elements) : nil
        case .string: return scanner.string().map { .string(JSONString(raw: text[$0])) }
        case .number: return scanner.value().map { .number(String(decoding: text[$0], as: UTF8.self)) }
        case .literal:
            guard let range = scanner.value() else { return nil }
            let word = bytes.extracting(range)
            return ASCII.equal(word, "null") ? .null : .bool(ASCII.equal(word, "true"))
        case .end: return nil
        }
    }
}

// MARK: - Looking into it

extension JSONValue {
    public var isNull: Bool { self == .null }
    /// The string; nil for any other value.
    public var string: JSONString? { if case .string(let string) = self { string } else { nil } }
    public var bool: Bool? { if case .bool(let flag) = self { flag } else { nil } }
    /// The number's text, as it was written.
    public var number: String? { if case .number(let text) = self { text } else { nil } }
    /// A whole number; nil for any other value.
    public var integer: Int? { if case .number(let text) = self { Int(text) } else { nil } }
    public var elements: [JSONValue]? { if case .array(let elements) = self { elements } else { nil } }
    public var members: [(key: String, value: JSONValue)]? {
        if case .object(let members) = self { members } else { nil }
    }
}

// MARK: - Writing one down

extension JSONValue: ExpressibleByStringLiteral, ExpressibleByBooleanLiteral, ExpressibleByIntegerLiteral,
    ExpressibleByNilLiteral, ExpressibleByArrayLiteral, ExpressibleByDictionaryLiteral
{
    public init(stringLiteral value: String) { self = .string(JSONString(value)) }
    public init(booleanLiteral value: Bool) { self = .bool(value) }
    public init(integerLiteral value: Int) { self = .number("\(value)") }
    public init(nilLiteral: ()) { self = .null }
    public init(arrayLiteral elements: JSONValue...) { self = .array(elements) }
    public init(dictionaryLiteral elements: (String, JSONValue)...) {
        self = .object(elements.map { (key: $0.0, value: $0.1) })
    }

    public init(_ text: String) { self = .string(JSONString(text)) }
    public init(_ value: Int) { self = .number("\(value)") }
}
