/// What a route with `request: run` is to clients that know workflows by name (`workflow:` of a route): model-compose's front ends.
///
/// Its siblings, where tasks are asked for and workflows are listed, stand where its path stands: `BASE/workflows/runs` goes with
/// `BASE/workflows`, `BASE/tasks/ID` and `BASE/health`.
public struct WorkflowSpec: Sendable, Equatable {
    /// How the path of its runs ends.
    public static let pathEnd = "/workflows/runs"

    public var id: String
    public var title: String?
    public var summary: String?
    /// Taken where a run names none.
    public var isDefault = false
    /// What a run's `input` may hold, as far as clients are told.
    public var input = ["prompt"]
    /// The member of the output that has the text; nil: the text is the output.
    public var output: String?
    /// Its output is a stream, unless the run's own `input.stream` says otherwise.
    public var streams = true
    /// What stands before `/workflows/runs`.
    public var base: String

    /// nil for a path that does not end as it must.
    public init?(id: String, path: Route.Path) {
        guard case .exact(let path) = path, path.hasSuffix(Self.pathEnd) else { return nil }
        (self.id, base) = (id, String(path.dropLast(Self.pathEnd.utf8.count)))
    }

    /// Of a workflow that has no name.
    public static let namelessID = "__workflow__"
    /// What stands for the default one.
    public static let defaultID = "__default__"
}

extension ResumeSpec {
    /// How tasks are kept where a route does not say: as long as model-compose keeps them.
    public static let ofTasks: ResumeSpec = {
        var spec = ResumeSpec()
        spec.ttl = .seconds(3600)
        return spec
    }()
}

extension Route {
    /// How the tasks of its workflow are kept.
    public var tasks: ResumeSpec { resume ?? .ofTasks }
}
