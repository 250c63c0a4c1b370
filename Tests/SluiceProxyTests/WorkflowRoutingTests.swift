import SluiceConfig
import SluiceHTTP
import SluiceStreams
import Testing

@testable import SluiceProxy

/// Runs of workflows, and what stands beside them, among other routes.
@Suite struct WorkflowRoutingTests {
    private let table: RouteTable = {
        func workflow(_ id: String, _ path: String, isDefault: Bool = false, host: String? = nil) -> Route {
            var route = Route(path: .exact(path), request: .run, response: .format(.sseText), upstream: 0)
            var workflow = WorkflowSpec(id: id, path: route.path)
            workflow?.isDefault = isDefault
            (route.workflow, route.methods, route.host) = (workflow, ["POST"], host)
            return route
        }
        func other(_ path: Route.Path) -> Route { Route(path: path, request: .prompt, response: .auto, upstream: 0) }
        return RouteTable([
            workflow("elsewhere", "/api/workflows/runs", isDefault: true, host: "other.example"),
            workflow("a", "/api/workflows/runs"), workflow("b", "/api/workflows/runs", isDefault: true),
            other(.exact("/api/health")), other(.prefix("/api/")), workflow("c", "/workflows/runs", isDefault: true),
        ])
    }()

    private func match(_ path: String, _ method: String = "GET", body: String? = nil, host: String = "h") -> String {
        let head = RequestHead(method: method, target: path, authority: host)
        switch table.match(head, path: path, body: body.flatMap { JSONValue.parse($0) }) {
        case .route(let index): return "\(index)"
        case .workflow(let index, let wish): return "\(index) \(wish)"
        case .unknownWorkflow(let index): return "\(index) unknown"
        case .needsBody: return "body"
        case .methodNotAllowed(let allowed): return "405 \(allowed)"
        case .notFound: return "404"
        case .generation: return "generation"
        }
    }

    @Test func aRunNamesItsWorkflow() {
        let runs = "/api/workflows/runs"
        #expect(match(runs, "POST") == "body")
        #expect(match(runs, "POST", body: #"{"workflow_id":"a"}"#) == "1")
        for body in ["{}", #"{"workflow_id":null}"#, #"{"workflow_id":""}"#, #"{"workflow_id":"__default__"}"#] {
            #expect(match(runs, "POST", body: body) == "2")
            #expect(match(runs, "POST", body: body, host: "other.example") == "0")
        }
        // What stands behind a prefix is none of the workflow's business once a run has named none that there is.
        #expect(match("/workflows/runs", "POST", body: #"{"workflow_id":"a"}"#) == "5 unknown")
        #expect(match("/workflows/runs") == "405 POST")
    }

    @Test func whatStandsBesideThem() {
        let id = "01M7XEDZS2DEBXEC4M3R8MB31S"
        #expect(match("/api/workflows") == "1 list")
        #expect(match("/api/workflows", host: "other.example") == "0 list")
        #expect(match("/workflows") == "5 list")
        // A path that only begins with the same letters is somebody else's.
        for path in ["/api-other/health", "/apix/workflows", "/api-other/tasks/\(id)"] { #expect(match(path) == "404") }
        #expect(match("/api/workflows/a/schema") == #"1 schema("a")"#)
        #expect(match("/api/tasks/\(id)") == "1 state(\"\(id)\")")
        #expect(match("/api/tasks/\(id)", "DELETE") == "1 drop(\"\(id)\")")
        #expect(match("/api/tasks/\(id)/cancel", "POST") == "1 cancel(\"\(id)\")")
        #expect(match("/api/tasks/\(id)/resume", "POST") == "1 resume(\"\(id)\")")
        #expect(match("/tasks/\(id)/cancel") == "405 POST")
        #expect(match("/tasks/\(id)", "PUT") == "405 GET, DELETE")
        // A route of that very path goes first, and one of a prefix only where it stands before.
        #expect(match("/api/health") == "3")
        #expect(match("/health") == "5 health")
        #expect(match("/api/other") == "4")
        #expect(match("/tasks") == "404")
        #expect(match("/tasksx/\(id)") == "404")
    }
}
