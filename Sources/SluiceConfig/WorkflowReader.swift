import SluiceBytes
import SluiceStreams

/// `workflow` of a route.
extension ConfigurationReader {
    /// A run's path alone makes a workflow; `workflow` says which.
    func readWorkflow(_ parent: inout Section, _ route: inout Route) {
        let node = parent.value("workflow")
        guard route.request == .run else {
            if let node { context.report(node, parent.path(of: "workflow"), "is for routes with request: run") }
            return
        }
        guard var workflow = WorkflowSpec(id: WorkflowSpec.namelessID, path: route.path) else {
            guard let node else { return }
            let message = "needs a path that ends in \(WorkflowSpec.pathEnd): tasks are asked for beside it"
            return context.report(node, parent.path(of: "workflow"), message)
        }
        if let node { read(node, parent.path(of: "workflow"), into: &workflow) }
        route.workflow = workflow
        if route.methods.isEmpty { route.methods = ["POST"] }
        switch route.response {
        case .auto: route.response = .format(.sseText)
        case .format(.sseText), .format(.sseJSON), .format(.text): break
        case .format(let format):
            context.report(
                parent.value("response") ?? parent.node, parent.path(of: "response"),
                "a workflow streams as auto, sse-text, sse-json or text, not as \(format.rawValue)")
        }
    }

    private func read(_ node: YAMLNode, _ path: String, into workflow: inout WorkflowSpec) {
        if case .scalar = node.kind {
            if let id = Scalars.text(node, path, context) { take(id, node, path, into: &workflow) }
            return
        }
        guard var section = Section(node, path: path, context: context) else { return }
        if let id = section.requiredString("id"), let node = section.value("id") {
            take(id, node, section.path(of: "id"), into: &workflow)
        }
        workflow.title = section.string("title")
        workflow.summary = section.string("description")
        workflow.isDefault = section.bool("default") ?? false
        if let names = section.list("input") {
            workflow.input = names.compactMap { Scalars.text($0.node, $0.path, context) }
        }
        workflow.output = section.string("output")
        workflow.streams = section.bool("stream") ?? true
        section.finish()
    }

    private func take(_ id: String, _ node: YAMLNode, _ path: String, into workflow: inout WorkflowSpec) {
        workflow.id = id
        let isPlain = id.utf8.allSatisfy { $0 > 0x20 && $0 < 0x7F && !"/?#%\"\\".utf8.contains($0) }
        guard !isPlain || !(1...128).contains(id.utf8.count) || id == WorkflowSpec.defaultID || id == "runs" else {
            return
        }
        context.report(node, path, "'\(id)' is no id: 1 to 128 visible ASCII characters that a path may hold")
    }

    /// Of those that stand at one path, one is taken where a run names none: the one that says so, else the first.
    func settleWorkflows(_ routes: inout [Route], _ places: [(node: YAMLNode, path: String)]) {
        var groups: [String: [Int]] = [:]
        for (index, route) in routes.enumerated() where route.workflow != nil {
            groups["\(route.host ?? "")\(route.label)", default: []].append(index)
        }
        for group in groups.values {
            let marked = group.filter { routes[$0].workflow?.isDefault == true }
            for index in marked.dropFirst() where index < places.count {
                context.report(
                    places[index].node, places[index].path + ".workflow.default",
                    "another workflow at this path is the default one already")
            }
            if marked.isEmpty, let first = group.first { routes[first].workflow?.isDefault = true }
        }
    }
}

enum WorkflowSchema {
    private typealias Build = SchemaBuilder

    static let own = [
        SchemaBuilder.Key(
            "workflow", Build.either(Build.text, Build.mapping(keys)),
            "For request: run at a path that ends in /workflows/runs: what clients call it.")
    ]

    private static let keys = [
        SchemaBuilder.Key("id", Build.text, "Its name, by which a run asks for it.", isRequired: true),
        SchemaBuilder.Key("title", Build.text, "For people."),
        SchemaBuilder.Key("description", Build.text, "For people."),
        SchemaBuilder.Key("default", Build.flag, "Taken where a run names none; else the first at that path is."),
        SchemaBuilder.Key("input", Build.list(of: Build.text), "What a run's input may hold: told to clients."),
        SchemaBuilder.Key(
            "output", Build.text, "The member of the output that has the text; without it, it is the text."),
        SchemaBuilder.Key("stream", Build.flag, "false: one document, unless the run's input.stream is true."),
    ]
}
