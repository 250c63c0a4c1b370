/// What is wrong with a template; for whoever wrote it.
public struct TemplateFault: Error, Equatable, Sendable {
    public let message: String

    public init(_ message: String) { self.message = message }
}

/// A text with places for what a client said and for what the steps before have answered:
/// `A title for ${input.topic:-anything}: ${steps.outline.output}`.
///
/// Parsed once, with the configuration. What is filled in is never looked at again, whatever it holds.
public struct PromptTemplate: Equatable, Sendable {
    /// A place, and what stands there if there is nothing for it.
    public struct Reference: Equatable, Sendable {
        public var subject: TemplateSubject
        /// Behind `:-`; also for what is empty.
        public var fallback: String?
    }
    enum Part: Equatable, Sendable {
        case text([UInt8])
        case reference(Reference)
    }

    private(set) var parts: [Part] = []
    /// As it stands in the file.
    public let source: String

    /// `variable` knows what the environment has for all other names: `HOME`, or `HOME:-/root`. `$$` is one dollar.
    public init(_ text: String, variable: (Substring) throws(TemplateFault) -> String) throws(TemplateFault) {
        source = text
        var literal = ""
        var rest = Substring(text)
        while let dollar = rest.firstIndex(of: "$") {
            literal += rest[..<dollar]
            rest = rest[rest.index(after: dollar)...]
            if rest.first == "$" {
                literal += "$"
                rest = rest.dropFirst()
            } else if rest.first == "{" {
                guard let end = rest.firstIndex(of: "}") else { throw TemplateFault("'${' without '}'") }
                let inner = rest[rest.index(after: rest.startIndex)..<end]
                rest = rest[rest.index(after: end)...]
                guard let reference = try Reference(inner) else {
                    literal += try variable(inner)
                    continue
                }
                if !literal.isEmpty { parts.append(.text(Array(literal.utf8))) }
                literal = ""
                parts.append(.reference(reference))
            } else {
                literal += "$"
            }
        }
        literal += rest
        if !literal.isEmpty { parts.append(.text(Array(literal.utf8))) }
    }

    public var references: [Reference] {
        parts.compactMap { if case .reference(let reference) = $0 { reference } else { nil } }
    }

    // MARK: - Filling in

    public enum Expansion: Equatable, Sendable {
        case text([UInt8])
        /// There is nothing for it, and the template says of nothing that could stand there instead.
        case missing(TemplateSubject)
        case tooLarge
    }

    /// `value`: UTF-8; nil if there is none. More than `limitBytes` is not put together.
    public func expand(limitBytes: Int, _ value: (TemplateSubject) -> [UInt8]?) -> Expansion {
        var out: [UInt8] = []
        for part in parts {
            let piece: [UInt8]
            switch part {
            case .text(let text): piece = text
            case .reference(let reference):
                let found = value(reference.subject)
                if let fallback = reference.fallback, found?.isEmpty ?? true {
                    piece = Array(fallback.utf8)
                } else if let found {
                    piece = found
                } else {
                    return .missing(reference.subject)
                }
            }
            guard out.count + piece.count <= limitBytes else { return .tooLarge }
            out += piece
        }
        return .text(out)
    }
}

/// What the environment has put in may be secret: whoever looks at a configuration sees what stands in its file.
extension PromptTemplate: CustomReflectable {
    public var customMirror: Mirror { Mirror(self, children: ["source": source], displayStyle: .struct) }
}

/// What a template can name.
public enum TemplateSubject: Equatable, Sendable, CustomStringConvertible {
    /// Names and positions on the way into what the client sent; none for the input itself.
    case input([String])
    /// What a step has answered; with a path, what stands there in an answer that is JSON.
    case output(step: String, [String])
    /// `stop`, `length`, `tool_calls` …
    case finishReason(step: String)

    /// As it is written: `input.topic`, `steps.outline.output`.
    public var description: String {
        switch self {
        case .input(let path): Self.join("input", path)
        case .output(let step, let path): Self.join("steps.\(step).output", path)
        case .finishReason(let step): "steps.\(step).finish_reason"
        }
    }

    private static func join(_ root: String, _ path: [String]) -> String {
        path.reduce(root) { $0 + ($1.utf8.allSatisfy { $0 >= 0x30 && $0 <= 0x39 } ? "[\($1)]" : ".\($1)") }
    }

    private static let depthLimit = 16
    private static let wanted = "input.PATH, steps.NAME.output, steps.NAME.output.PATH or steps.NAME.finish_reason"

    /// `input.messages[0].content`, `steps.outline.output`. nil: it begins with another name.
    public init?(_ text: Substring) throws(TemplateFault) {
        let root = text.prefix { $0 == "_" || $0.isASCII && ($0.isLetter || $0.isNumber) }
        guard root == "input" || root == "steps" else { return nil }
        let path = try Self.path(text[root.endIndex...], in: text)
        if root == "input" {
            self = .input(path)
            if path.count > 1, path[0] == "prompt" || path[0] == "system" {
                throw TemplateFault("'\(text)': input.\(path[0]) is a text, and has no members")
            }
            return
        }
        guard path.count > 1, let name = path.first else { throw TemplateFault("'\(text)' is none of \(Self.wanted)") }
        switch path[1] {
        case "output": self = .output(step: name, Array(path.dropFirst(2)))
        case "finish_reason" where path.count == 2: self = .finishReason(step: name)
        default: throw TemplateFault("'\(text)' is none of \(Self.wanted)")
        }
    }

    /// `.a.b[2]`
    private static func path(_ text: Substring, in whole: Substring) throws(TemplateFault) -> [String] {
        let fault = TemplateFault("'\(whole)' is none of \(wanted)")
        var steps: [String] = []
        var rest = text
        while let first = rest.first {
            rest = rest.dropFirst()
            let step: Substring
            if first == "." {
                step = rest.prefix { $0 != "." && $0 != "[" && $0 != "]" }
                rest = rest[step.endIndex...]
            } else if first == "[", let end = rest.firstIndex(of: "]") {
                step = rest[..<end]
                rest = rest[rest.index(after: end)...]
                guard step.utf8.allSatisfy({ $0 >= 0x30 && $0 <= 0x39 }) else { throw fault }
            } else {
                throw fault
            }
            guard !step.isEmpty, steps.count < depthLimit else { throw fault }
            steps.append(String(step))
        }
        return steps
    }
}

extension PromptTemplate.Reference {
    /// What stands between the braces. nil: it is the environment's.
    fileprivate init?(_ text: Substring) throws(TemplateFault) {
        let mark = text.firstIndex(of: ":") ?? text.endIndex
        guard let subject = try TemplateSubject(text[..<mark]) else {
            try Self.checkVariable(text)
            return nil
        }
        self.subject = subject
        guard mark < text.endIndex else { return }
        guard text[mark...].hasPrefix(":-") else {
            throw TemplateFault("'${\(text)}': only :-, and a text that stands there instead, may follow a name")
        }
        fallback = String(text[mark...].dropFirst(2))
    }

    /// Names of the environment have no dots, so somebody meant something else.
    private static func checkVariable(_ text: Substring) throws(TemplateFault) {
        let name = text.prefix { $0 != "." && $0 != "[" && $0 != ":" }
        guard let next = text[name.endIndex...].first, next != ":" else { return }
        throw TemplateFault("'${\(text)}' begins neither with input nor with steps")
    }
}
