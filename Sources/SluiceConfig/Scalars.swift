import SluiceBytes

/// Single values: substitution, durations, sizes.
enum Scalars {
    /// A scalar's text with `${…}` filled in; reports and returns nil for anything else.
    static func text(_ node: YAMLNode, _ path: String, _ context: ReadingContext) -> String? {
        guard case .scalar(let raw, _) = node.kind else {
            context.report(node, path, "must be a single value, not \(node.typeName)")
            return nil
        }
        do throws(SubstitutionFault) {
            let text = try substitute(raw, context.environment)
            context.noteSubstitution(text, of: raw)
            return text
        } catch {
            context.report(node, path, error.message)
            return nil
        }
    }

    /// A secret: text, or `{file: PATH}`, whose trailing line end is taken off.
    static func secret(_ node: YAMLNode, _ path: String, _ context: ReadingContext) -> Secret? {
        guard case .mapping = node.kind else { return text(node, path, context).map(Secret.init) }
        guard var section = Section(node, path: path, context: context) else { return nil }
        let file = section.requiredString("file")
        section.finish()
        guard let file else { return nil }
        guard let bytes = context.readFile(context.absolute(file)) else {
            context.report(node, path, "the file \(file) cannot be read")
            return nil
        }
        var text = String(decoding: bytes, as: UTF8.self)
        while text.hasSuffix("\n") || text.hasSuffix("\r\n") || text.hasSuffix("\r") { text.removeLast() }
        return Secret(text)
    }

    struct SubstitutionFault: Error { let message: String }

    /// `${VAR}`, `${VAR:-default}`, `${VAR:?message}`; `$$` is one dollar. What is filled in is not looked at again.
    static func substitute(_ text: String, _ environment: [String: String]) throws(SubstitutionFault) -> String {
        guard text.contains("$") else { return text }
        var result = ""
        var rest = Substring(text)
        while let dollar = rest.firstIndex(of: "$") {
            result += rest[..<dollar]
            rest = rest[rest.index(after: dollar)...]
            if rest.first == "$" {
                result += "$"
                rest = rest.dropFirst()
            } else if rest.first == "{" {
                guard let end = rest.firstIndex(of: "}") else { throw SubstitutionFault(message: "'${' without '}'") }
                result += try variable(rest[rest.index(after: rest.startIndex)..<end], environment)
                rest = rest[rest.index(after: end)...]
            } else {
                result += "$"
            }
        }
        return result + rest
    }

    /// What stands between the braces.
    static func variable(_ text: Substring, _ environment: [String: String]) throws(SubstitutionFault) -> String {
        let name = text.prefix { $0 == "_" || $0.isASCII && ($0.isLetter || $0.isNumber) }
        let operation = text[name.endIndex...]
        let value = environment[String(name)] ?? ""
        guard !name.isEmpty else { throw SubstitutionFault(message: "'${\(text)}' names no variable") }
        if operation.isEmpty {
            guard environment[String(name)] != nil else {
                throw SubstitutionFault(message: "the environment has no \(name) (give a default with ${\(name):-…})")
            }
            return value
        }
        if operation.hasPrefix(":-") { return value.isEmpty ? String(operation.dropFirst(2)) : value }
        if operation.hasPrefix(":?") {
            guard value.isEmpty else { return value }
            let message = operation.dropFirst(2)
            throw SubstitutionFault(message: message.isEmpty ? "the environment has no \(name)" : "\(name): \(message)")
        }
        throw SubstitutionFault(message: "'${\(text)}' is none of ${VAR}, ${VAR:-default}, ${VAR:?message}")
    }

    /// `250ms`, `15s`, `10m`, `1h`; `0`, `off` and `never` are zero.
    static func duration(_ text: String) -> Interval? {
        if ["0", "off", "never"].contains(text) { return .zero }
        let units: [(String, UInt64)] = [
            ("ms", 1_000_000), ("s", 1_000_000_000), ("m", 60_000_000_000), ("h", 3_600_000_000_000),
        ]
        for (unit, nanoseconds) in units where text.hasSuffix(unit) {
            guard let count = UInt64(text.dropLast(unit.count)) else { continue }
            let (product, overflow) = count.multipliedReportingOverflow(by: nanoseconds)
            return overflow ? nil : Interval(nanoseconds: product)
        }
        return nil
    }

    /// `512`, `64KiB`, `8MiB`, `1GiB`.
    static func size(_ text: String) -> Int? {
        var digits = Substring(text)
        var factor = 1
        for (unit, bytes) in [("KiB", 1 << 10), ("MiB", 1 << 20), ("GiB", 1 << 30), ("B", 1)] where text.hasSuffix(unit)
        {
            digits = text.dropLast(unit.count)
            factor = bytes
            break
        }
        guard let count = Int(digits), count >= 0 else { return nil }
        let (product, overflow) = count.multipliedReportingOverflow(by: factor)
        return overflow ? nil : product
    }
}
