import SluiceBytes

extension ConfigurationReader {
    func readRetries(_ section: inout Section) -> RetrySpec {
        var spec = RetrySpec()
        (spec.words, spec.statuses) = (RetrySpec.usualWords, RetrySpec.usualStatuses)
        spec.attempts = section.integer("attempts", 0...10) ?? spec.attempts
        spec.backoff = section.duration("backoff") ?? spec.backoff
        spec.maxBackoff = section.duration("max_backoff") ?? max(spec.maxBackoff, spec.backoff)
        spec.maxRetryAfter = section.duration("max_retry_after") ?? spec.maxRetryAfter
        spec.budgetPercent = section.integer("budget_percent", 0...1000) ?? spec.budgetPercent
        spec.minPerSecond = section.integer("min_per_second", 0...1_000_000) ?? spec.minPerSecond
        if let items = section.list("on") {
            (spec.words, spec.statuses) = ([], [])
            for (node, path) in items { readCause(node, path, &spec) }
        }
        if spec.maxBackoff < spec.backoff, let node = section.value("max_backoff") {
            context.report(node, section.path(of: "max_backoff"), "must not be shorter than backoff")
        }
        section.finish()
        return spec
    }

    private func readCause(_ node: YAMLNode, _ path: String, _ spec: inout RetrySpec) {
        guard let text = Scalars.text(node, path, context) else { return }
        if let word = RetrySpec.Word(rawValue: text) {
            spec.words.insert(word)
        } else if let status = Int(text) {
            if RetrySpec.isRepeatable(status: status) {
                spec.statuses.insert(status)
            } else {
                context.report(
                    node, path, "a request that got \(text) is not repeated: give 408, 409, 425, 429 or 500 to 599")
            }
        } else {
            let words = RetrySpec.Word.allCases.map(\.rawValue)
            context.report(node, path, Names.notOneOf(text, words) + ", nor a status")
        }
    }

    // MARK: - A route's upstreams

    /// A name, or a list of names and of `{name, model}`, in the order in which they are asked.
    func readUpstreamChoices(_ section: inout Section, _ known: [UpstreamSpec]?) -> [Route.Choice]? {
        guard let node = section.value("upstream") else {
            section.missing("upstream")
            return nil
        }
        guard case .sequence = node.kind else {
            return readChoice(node, section.path(of: "upstream"), known).map { [$0] }
        }
        let items = section.list("upstream") ?? []
        if items.isEmpty { context.report(node, section.path(of: "upstream"), "must name at least one upstream") }
        if items.count > Route.choiceLimit {
            context.report(
                node, section.path(of: "upstream"), "must not name more than \(Route.choiceLimit) upstreams")
        }
        var choices: [Route.Choice] = []
        for (node, path) in items {
            guard let choice = readChoice(node, path, known) else { continue }
            if choices.contains(choice) { context.report(node, path, "stands here twice") }
            choices.append(choice)
        }
        return choices.isEmpty ? nil : choices
    }

    private func readChoice(_ node: YAMLNode, _ path: String, _ known: [UpstreamSpec]?) -> Route.Choice? {
        guard case .mapping = node.kind else { return find(node, path, known).map { Route.Choice(upstream: $0) } }
        guard var item = Section(node, path: path, context: context) else { return nil }
        let model = item.string("model")
        var upstream: Int?
        if let name = item.value("name") {
            upstream = find(name, item.path(of: "name"), known)
        } else {
            item.missing("name")
        }
        item.finish()
        return upstream.map { Route.Choice(upstream: $0, model: model) }
    }

    /// `known` is nil where the upstreams themselves could not be read.
    private func find(_ node: YAMLNode, _ path: String, _ known: [UpstreamSpec]?) -> Int? {
        guard let name = Scalars.text(node, path, context), let known else { return nil }
        if let index = known.firstIndex(where: { $0.name == name }) { return index }
        let names = known.map(\.name)
        let near = Names.nearest(to: name, in: names).map { ", did you mean '\($0)'?" } ?? ""
        context.report(
            node, path, "no upstream is named '\(name)' (known: \(names.joined(separator: ", "))\(near))")
        return nil
    }
}
