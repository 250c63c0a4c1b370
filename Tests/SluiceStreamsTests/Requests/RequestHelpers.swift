import Foundation
import SluiceStreams
import Testing

/// A JSON document as Foundation reads it, to be compared without regard to the order of members.
struct Document: Equatable, CustomStringConvertible {
    let value: NSObject

    init(_ bytes: [UInt8]) throws {
        value = try #require(
            try JSONSerialization.jsonObject(with: Data(bytes), options: .fragmentsAllowed) as? NSObject)
    }
    init(_ text: String) throws { try self.init(Array(text.utf8)) }
    private init(_ value: NSObject) { self.value = value }

    /// One member of an object.
    subscript(key: String) -> Document? {
        ((value as? [String: Any])?[key] as? NSObject).map { Document($0) }
    }
    var keys: Set<String> { Set((value as? [String: Any] ?? [:]).keys) }

    var description: String {
        let options: JSONSerialization.WritingOptions = [.sortedKeys, .fragmentsAllowed, .withoutEscapingSlashes]
        return (try? JSONSerialization.data(withJSONObject: value, options: options)).map {
            String(decoding: $0, as: UTF8.self)
        } ?? "\(value)"
    }
}

/// A body as `translate` makes it, with what else it says.
func translated(
    _ body: String, _ format: RequestFormat, _ dialect: Dialect, _ rules: RequestRules = .init(),
    _ hints: RequestHints = .init()
) throws -> TranslatedRequest {
    try RequestTranslator.translate(Array(body.utf8), from: format, to: dialect, rules, hints)
}

func sent(
    _ body: String, _ format: RequestFormat, _ dialect: Dialect, _ rules: RequestRules = .init(),
    _ hints: RequestHints = .init()
) throws -> Document {
    try Document(try translated(body, format, dialect, rules, hints).body)
}

/// The conversation of a request as OpenAI's chat has it, which the readers' tests are written in.
func messages(_ body: String, _ format: RequestFormat, _ hints: RequestHints = .init()) throws -> Document {
    try #require(try sent(body, format, .openAIChat, .init(), hints)["messages"])
}

/// The error's text; nil if there is none.
func complaint(
    _ body: String, _ format: RequestFormat, _ dialect: Dialect, _ rules: RequestRules = .init(),
    _ hints: RequestHints = .init()
) -> String? {
    do {
        _ = try translated(body, format, dialect, rules, hints)
        return nil
    } catch {
        return (error as? RequestError)?.message ?? "\(error)"
    }
}

/// The client's fields that the upstream has no words for; empty if the request goes through.
func unsupported(
    _ body: String, _ format: RequestFormat, _ dialect: Dialect, _ rules: RequestRules = .init(),
    _ hints: RequestHints = .init()
) -> [String] {
    do {
        _ = try translated(body, format, dialect, rules, hints)
        return []
    } catch {
        if case .unsupported(let fields, _)? = error as? RequestError { return fields }
        return ["\(error)"]
    }
}

func expectSame(_ found: Document, _ wanted: String, sourceLocation: SourceLocation = #_sourceLocation) throws {
    let wanted = try Document(wanted)
    #expect(found == wanted, "\n\(found)\nis not\n\(wanted)", sourceLocation: sourceLocation)
}

func rules(_ change: (inout RequestRules) -> Void) -> RequestRules {
    var rules = RequestRules()
    change(&rules)
    return rules
}

func hints(_ change: (inout RequestHints) -> Void) -> RequestHints {
    var hints = RequestHints()
    change(&hints)
    return hints
}
