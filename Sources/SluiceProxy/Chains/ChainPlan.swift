import SluiceBytes
import SluiceConfig
import SluiceStreams

/// The steps of a route, ready to be run: what does not depend on a request is made once.
final class ChainPlan: Sendable {
    struct Step: Sendable {
        let spec: StepSpec
        /// As an exchange of its own asks it.
        let inner: RouteEntry
        /// As the route's exchange asks it, where this may be the last step; nil if another one always follows.
        let last: RouteEntry?
    }

    let steps: [Step]
    /// Some step asks what the client asks, in its words.
    let needsConversation: Bool
    /// Members of a body that templates look at, by their first name.
    let inputNames: Set<String>
    /// What a request must have, since no step that needs it is ever left out, and which that is.
    let needed: [(subject: TemplateSubject, path: [String], step: String)]

    init(_ route: Route, access: RouteAccess?) {
        steps = route.steps.enumerated().map { index, spec in
            let isLast = index == route.steps.count - 1
            return Step(
                spec: spec, inner: RouteEntry(Self.inner(spec, of: route)),
                last: isLast || spec.answers ? RouteEntry(Self.last(spec, of: route), access: access) : nil)
        }
        needsConversation = route.steps.contains { $0.messages.isEmpty }
        var names: Set<String> = []
        var needed: [(subject: TemplateSubject, path: [String], step: String)] = []
        for step in route.steps {
            for case .input(let path) in step.conditions.map(\.subject) { names.formUnion(path.prefix(1)) }
            for reference in step.templates.flatMap(\.references) {
                guard case .input(let path) = reference.subject else { continue }
                names.formUnion(path.prefix(1))
                guard step.conditions.isEmpty, reference.fallback == nil else { continue }
                needed.append((reference.subject, path, step.name))
            }
        }
        (inputNames, self.needed) = (names, needed)
    }

    /// Nothing of what the route does for its client.
    private static func inner(_ spec: StepSpec, of route: Route) -> Route {
        var inner = Route(path: route.path, request: .openAIChat, response: .format(.sseJSON), upstream: 0)
        take(spec, &inner)
        return inner
    }

    private static func last(_ spec: StepSpec, of route: Route) -> Route {
        var last = route
        last.steps = []
        take(spec, &last)
        return last
    }

    private static func take(_ spec: StepSpec, _ route: inout Route) {
        (route.upstreams, route.upstreamPath, route.model) = (spec.upstreams, spec.upstreamPath, spec.model)
        (route.defaults, route.overrides) = (spec.defaults, spec.overrides)
        route.dropsUnsupported = spec.dropsUnsupported
    }
}

extension Route {
    /// All that it may ask.
    var choices: [Choice] { steps.isEmpty ? upstreams : steps.flatMap(\.upstreams) }
    /// Lists of which each upstream stands in for the one before.
    var choiceLists: [[Choice]] { steps.isEmpty ? [upstreams] : steps.map(\.upstreams) }
}
