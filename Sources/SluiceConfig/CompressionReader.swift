extension Route {
    /// What a body may be compressed with, by its name in `Content-Encoding`.
    public enum Coding: String, Sendable, CaseIterable { case br, gzip }
}

/// `compress`, at the top level for all routes and in a route for itself.
extension ConfigurationReader {
    /// nil: nothing is said.
    func readCompression(_ section: inout Section) -> [Route.Coding]? {
        guard let node = section.value("compress") else { return nil }
        let path = section.path(of: "compress")
        guard case .sequence(let elements) = node.kind else {
            guard let text = Scalars.text(node, path, context) else { return nil }
            return text == "off" ? [] : coding(text, node, path, orOff: true).map { [$0] }
        }
        var codings: [Route.Coding] = []
        for (index, element) in elements.enumerated() {
            let path = "\(path)[\(index)]"
            guard let text = Scalars.text(element, path, context), let coding = coding(text, element, path) else {
                continue
            }
            if codings.contains(coding) { context.report(element, path, "stands here twice") }
            codings.append(coding)
        }
        return codings
    }

    private func coding(
        _ text: String, _ node: YAMLNode, _ path: String, orOff: Bool = false
    ) -> Route.Coding? {
        if let coding = Route.Coding(rawValue: text) { return coding }
        let names = Route.Coding.allCases.map(\.rawValue) + (orOff ? ["off"] : [])
        context.report(node, path, Names.notOneOf(text, names))
        return nil
    }
}

/// The schema of `compress`.
enum CompressionSchema {
    static let own = SchemaBuilder.Key(
        "compress",
        SchemaBuilder.either(
            SchemaBuilder.choice(Route.Coding.self, more: ["off"]),
            SchemaBuilder.list(of: SchemaBuilder.choice(Route.Coding.self))),
        "Towards clients that take it, the best first; each event is still sent at once. Default: off.")
}
