import SluiceStreams

/// Templates of chains: what is filled in is never looked at again, whatever it is, and nothing grows past its limit.
func checkTemplate(_ bytes: [UInt8]) {
    let text = String(decoding: bytes, as: UTF8.self)
    guard
        let template = try? PromptTemplate(
            text,
            variable: { (name) throws(TemplateFault) in
                if name.isEmpty { throw TemplateFault("no name") }
                return "${input.x}$$"
            })
    else { return }
    let limit = 4096
    for value in ["", "v", "${steps.a.output}", "$", "{input}", text] {
        let piece = Array(value.utf8)
        var asked = 0
        switch template.expand(
            limitBytes: limit,
            { _ in
                asked += 1
                return piece
            })
        {
        case .text(let out):
            require(out.count <= limit, "a template grows past its limit")
            require(asked == template.references.count, "a place is filled in twice, or not at all")
        case .missing: require(false, "what is there is missing")
        case .tooLarge: require(asked > 0 || text.utf8.count > limit / 8, "a short text is too large")
        }
    }
    for reference in template.references {
        let again = try? TemplateSubject(Substring("\(reference.subject)"))
        require(again == reference.subject, "a place is not written as it is read: \(reference.subject)")
    }
    guard case .missing(let subject) = template.expand(limitBytes: limit, { _ in nil }) else { return }
    require(template.references.contains { $0.subject == subject && $0.fallback == nil }, "the wrong place is missing")
}
