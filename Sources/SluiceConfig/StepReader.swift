import SluiceBytes
import SluiceStreams

/// `steps` of a route.
extension ConfigurationReader {
    /// Keys that say how an upstream is asked: with steps, each step has its own.
    private static let stepKeys = [
        "upstream", "upstream_path", "model", "system", "defaults", "overrides", "drop_unsupported",
    ]

    /// nil: the route has none, and asks its upstream itself. `known` is nil where the upstreams themselves could not be read.
    func readSteps(_ parent: inout Section, _ known: [UpstreamSpec]?) -> [StepSpec]? {
        guard let node = parent.value("steps") else { return nil }
        let path = parent.path(of: "steps")
        let items = parent.list("steps") ?? []
        if case .sequence = node.kind, items.isEmpty { context.report(node, path, "must have at least one step") }
        if items.count > StepSpec.countLimit {
            context.report(node, path, "must not be more than \(StepSpec.countLimit)")
        }
        for key in Self.stepKeys {
            guard let node = parent.value(key) else { continue }
            context.report(node, parent.path(of: key), "a route with steps has this in each of them; take it out here")
        }
        var names = StepNames(later: items.map { Self.name(of: $0.node) })
        var steps: [StepSpec] = []
        for (index, (node, path)) in items.enumerated() {
            names.advance()
            guard var section = Section(node, path: path, context: context) else { continue }
            let step = readStep(&section, known, &names, isLast: index == items.count - 1)
            section.finish()
            if let step { steps.append(step) }
        }
        return steps
    }

    /// What is asked at last is the route's own as far as it can be known before.
    func take(_ steps: [StepSpec], _ route: inout Route, _ section: inout Section) {
        route.steps = steps
        guard let last = steps.last else { return }
        (route.upstreamPath, route.model, route.system) = (last.upstreamPath, last.model, nil)
        (route.defaults, route.overrides) = (last.defaults, last.overrides)
        route.dropsUnsupported = last.dropsUnsupported
        // Nobody looks at an answer for as long as several of them take.
        if section.value("early_headers") == nil { route.earlyHeaders = StepSpec.earlyHeaders }
    }

    private func readStep(
        _ section: inout Section, _ known: [UpstreamSpec]?, _ names: inout StepNames, isLast: Bool
    ) -> StepSpec? {
        let name = readName(&section, names)
        let choices = readUpstreamChoices(&section, known)
        var step = StepSpec(name: name ?? "", upstreams: choices ?? [])
        step.upstreamPath = readUpstreamPath(&section)
        step.model = section.string("model")
        step.system = readTemplate("system", &section, names)
        readMessages(&section, &step, names)
        step.defaults = readObject("defaults", &section)
        step.overrides = readObject("overrides", &section)
        step.dropsUnsupported = section.bool("drop_unsupported") ?? false
        readConditions(&section, &step, names)
        step.answers = section.bool("answers") ?? false
        if isLast, !step.conditions.isEmpty, let node = section.value("when") {
            context.report(node, section.path(of: "when"), "the last step always runs, since somebody has to answer")
        }
        if step.answers, step.conditions.isEmpty, !isLast, let node = section.value("answers") {
            context.report(
                node, section.path(of: "answers"), "needs 'when': without it no step behind this one ever runs")
        }
        for choice in choices ?? [] {
            guard let upstream = known?[choice.upstream], upstream.wire == .dialect(.raw) else { continue }
            context.report(
                section.value("upstream") ?? section.node, section.path(of: "upstream"),
                "'\(upstream.name)' has the dialect raw, which only passthrough can use")
        }
        if let name { names.earlier.append(name) }
        return name == nil || choices == nil ? nil : step
    }

    private static func name(of node: YAMLNode) -> String {
        guard case .mapping(let members) = node.kind else { return "" }
        for (key, value) in members {
            if case .scalar("name", _) = key.kind, case .scalar(let name, _) = value.kind { return name }
        }
        return ""
    }

    private func readName(_ section: inout Section, _ names: StepNames) -> String? {
        guard let name = section.requiredString("name"), let node = section.value("name") else { return nil }
        func report(_ message: String) { context.report(node, section.path(of: "name"), message) }
        let isName = name.utf8.allSatisfy { byte in
            byte == 0x5F || byte == 0x2D || byte &- 0x30 < 10 || (byte | 0x20) &- 0x61 < 26
        }
        if !isName || !(1...StepSpec.nameLimit).contains(name.utf8.count) {
            report("'\(name)' is no name: 1 to \(StepSpec.nameLimit) letters, digits, - and _")
            return nil
        }
        if names.earlier.contains(name) { report("a step before this one is named '\(name)' too") }
        return name
    }

    // MARK: - Templates

    private func readTemplate(_ key: String, _ section: inout Section, _ names: StepNames) -> PromptTemplate? {
        section.value(key).flatMap { template($0, section.path(of: key), names) }
    }

    private func template(_ node: YAMLNode, _ path: String, _ names: StepNames) -> PromptTemplate? {
        guard case .scalar(let raw, _) = node.kind else {
            context.report(node, path, "must be a single value, not \(node.typeName)")
            return nil
        }
        do throws(TemplateFault) {
            let template = try PromptTemplate(raw) { (text) throws(TemplateFault) in
                do throws(Scalars.SubstitutionFault) {
                    return try Scalars.variable(text, context.environment)
                } catch {
                    throw TemplateFault(error.message)
                }
            }
            for reference in template.references { check(reference.subject, node, path, names) }
            return template
        } catch {
            context.report(node, path, error.message)
            return nil
        }
    }

    private func check(_ subject: TemplateSubject, _ node: YAMLNode, _ path: String, _ names: StepNames) {
        let name: String
        switch subject {
        case .input: return
        case .output(let step, _), .finishReason(let step): name = step
        }
        if names.earlier.contains(name) { return }
        if names.later.contains(name) {
            return context.report(node, path, "'\(subject)': only steps that stand before this one have an output here")
        }
        let near = Names.nearest(to: name, in: names.earlier).map { " (did you mean '\($0)'?)" } ?? ""
        context.report(node, path, "'\(subject)': no step before this one is named '\(name)'\(near)")
    }

    private func readMessages(_ section: inout Section, _ step: inout StepSpec, _ names: StepNames) {
        let prompt = readTemplate("prompt", &section, names)
        if let prompt { step.messages = [StepSpec.Message(role: .user, content: prompt)] }
        guard let node = section.value("messages") else { return }
        if section.value("prompt") != nil {
            context.report(node, section.path(of: "messages"), "give prompt or messages, not both")
        }
        let items = section.list("messages") ?? []
        if case .sequence = node.kind, items.isEmpty {
            context.report(node, section.path(of: "messages"), "must have at least one message")
        }
        for (node, path) in items {
            guard var item = Section(node, path: path, context: context) else { continue }
            let role = item.choice("role", StepSpec.Message.Role.self)
            if item.value("role") == nil { item.missing("role") }
            let content = readTemplate("content", &item, names)
            if item.value("content") == nil { item.missing("content") }
            item.finish()
            if let role, let content { step.messages.append(StepSpec.Message(role: role, content: content)) }
        }
        if step.messages.count == items.count, !items.isEmpty, step.messages.allSatisfy({ $0.role == .system }) {
            context.report(node, section.path(of: "messages"), "needs a message of the user's")
        }
    }

    // MARK: - Conditions

    private func readConditions(_ section: inout Section, _ step: inout StepSpec, _ names: StepNames) {
        guard let when = section.section("when") else { return }
        for (key, keyNode, value) in when.entries {
            let path = when.path(of: key)
            guard let glob = Scalars.text(value, path, context) else { continue }
            do throws(TemplateFault) {
                guard let subject = try TemplateSubject(Substring(key)) else {
                    context.report(keyNode, path, "must begin with input or steps and name something")
                    continue
                }
                check(subject, keyNode, path, names)
                step.conditions.append((subject: subject, glob: glob))
            } catch {
                context.report(keyNode, path, error.message)
            }
        }
    }
}

/// Which steps a step can refer to, and which it might want to.
private struct StepNames {
    var earlier: [String] = []
    /// This one's own too.
    private(set) var later: [String]
    private var hasBegun = false

    init(later: [String]) { self.later = later }

    /// The next step is read.
    mutating func advance() {
        if hasBegun, !later.isEmpty { later.removeFirst() }
        hasBegun = true
    }
}

enum StepSchema {
    private typealias Build = SchemaBuilder
    private typealias Key = SchemaBuilder.Key

    /// `choice`: an upstream of a route.
    static func own(choice: JSONValue) -> SchemaBuilder.Key {
        Key(
            "steps", Build.list(of: Build.mapping(keys(choice)), minimum: 1),
            "In place of upstream: several questions, one after the other. The last one streams.")
    }

    private static func keys(_ choice: JSONValue) -> [SchemaBuilder.Key] {
        [
            Key("name", Build.text, "By which later steps refer to it.", isRequired: true),
            Key(
                "upstream", Build.either(choice, orListOf: choice),
                "A name under `upstreams`, or several: the next is asked if one fails.", isRequired: true),
            Key("upstream_path", Build.text, "Behind the upstream's URL, in place of the dialect's own path."),
            Key("model", Build.text, "In place of the client's."),
            Key("system", Build.text, "A template; put before the messages."),
            Key("prompt", Build.text, "A template, in place of the client's conversation."),
            Key("messages", Build.list(of: Build.mapping(message), minimum: 1), "The same for more than one message."),
            Key("defaults", Build.anyMapping, "Where the client is silent."),
            Key("overrides", Build.anyMapping, "Over what the client says."),
            Key("drop_unsupported", Build.flag, "Leaves out, and logs, what the upstream has no words for: else 400."),
            Key(
                "when", Build.names(of: Build.text, pattern: #"^(input|steps)[.\[]?.*"#),
                "All must hold, else the step is left out; * is any run of characters, ? is one."),
            Key("answers", Build.flag, "If it is not left out, it is the last."),
        ]
    }

    private static let message = [
        Key("role", Build.choice(StepSpec.Message.Role.self), "Who says it.", isRequired: true),
        Key("content", Build.text, "A template.", isRequired: true),
    ]
}
