import SluiceBytes
import SluiceConfig
import SluiceHTTP
import SluiceStreams

/// Runs of workflows, as model-compose's clients ask for them.
extension Exchange {
    // MARK: - What is asked

    /// The body by which the route is chosen; nil if it is no JSON, or the client has got its 400. A form becomes what it would be
    /// in JSON.
    func readBody() -> JSONValue? {
        let body = requestBody.withUnsafeBytes { Array($0) }
        guard let entry = worker.snapshot.routes.workflowEntry(head, record.path), head.method == "POST" else {
            return JSONValue.parse(body)
        }
        do throws(RunRequest.Refusal) {
            let read = try RunRequest.read(body, type: head.fields.first("content-type"))
            runRequest = read.run
            guard read.isForm else { return read.json }
            requestBody.removeAll()
            requestBody.append(read.json.serialized())
            return read.json
        } catch {
            noteRoute(entry)
            fail(ProxyError(.badRequest, .client, error.message))
            return nil
        }
    }

    /// False: the body by which the route is chosen names a model that is none, and the client has got its 400.
    func acceptsModel(_ body: JSONValue?) -> Bool {
        do throws(RequestError) {
            if let body { try RouteModel.check(body) }
            return true
        } catch {
            fail(ProxyError(.badRequest, .client, error.message))
            return false
        }
    }

    /// Whose errors are told, where no route has taken the request.
    func noteRoute(_ entry: RouteEntry) {
        route = entry
        record.route = entry.spec.label
    }

    func failUnknownWorkflow(_ name: String?) {
        let name = name.map { String($0.prefix(128)) } ?? ""
        fail(
            ProxyError(
                .notFound, .client, "Workflow '\(name.isEmpty ? WorkflowSpec.defaultID : name)' not found."))
    }

    /// False: the client has got its 400.
    func acceptsRun(_ route: RouteEntry) -> Bool {
        guard let workflow = route.spec.workflow, let asked = runRequest else { return true }
        let wantsStream = asked.streamWish ?? workflow.streams
        if asked.waits, !asked.isOutputOnly, wantsStream {
            fail(ProxyError(.badRequest, .client, RunRequest.needsOutputOnly))
            return false
        }
        let answer = RunAnswer(
            workflowID: workflow.id, taskID: TaskID.make(), isOutputOnly: asked.isOutputOnly, output: workflow.output)
        run = Run(answer: answer, wantsStream: wantsStream, isTask: !asked.waits)
        return true
    }

    // MARK: - Tasks

    /// The request is one that an upstream can be asked: the client is told the task's name, and the answer goes on without it.
    /// False: there is no room for another one, and the client has been told so.
    func beginTask(_ route: RouteEntry) -> Bool {
        guard generation == nil, let run else { return true }
        let spec = route.spec.tasks
        let facts = GenerationFacts(
            id: Generation.makeID(), alias: run.answer.taskID, scope: scope(route), format: .ndjson,
            bufferBytes: spec.bufferBytes, workflow: run.answer.workflowID)
        // Nobody could ask for it any more.
        guard !worker.isDraining || spec.store == .redis else {
            fail(ProxyError(.draining, .proxy, "the server is going down"))
            return false
        }
        guard worker.shared.generations.beginTask(limit: limits.tasks) else {
            worker.metrics.resumption.refused += 1
            return refuseTask(Limit("tasks", limits.tasks), "too many tasks are running")
        }
        guard let made = worker.generations.begin(facts, spec, drains: true, isTask: true, for: self) else {
            worker.shared.generations.endTask()
            return refuseTask(Limit("resume_buffers", limits.resumeBuffers), "there is no room for another task")
        }
        made.answerClient(pendingAnswer(run))
        (generation, client) = (made, made)
        record.generation = facts.id
        record.task = run.answer.taskID
        // What becomes of it is told in what is kept of it, a failure before its first token too.
        commitEarly()
        return true
    }

    private func refuseTask(_ limit: Limit, _ why: String) -> Bool {
        fail(ProxyError(.limit(limit, status: 503), .proxy, "\(why); try again later"))
        return false
    }

    private func pendingAnswer(_ run: Run) -> () -> Void {
        var body = ByteQueue()
        run.answer.openState("pending", into: &body)
        body.append(ASCII.rightBrace)
        let text = body.withUnsafeBytes { Array($0) }
        let (client, head) = (client, withOwnFields(ResponseFields.document(record.requestID, HeaderFields(), route)))
        return {
            client.sendHead(head, length: .fixed(text.count))
            var bytes = ByteQueue()
            let mark = client.openBody(in: &bytes)
            bytes.append(text)
            client.flushBody(mark, &bytes, isLast: true)
        }
    }

    /// A client has asked for the task's end, by another request.
    func cancelTask() {
        letGoOfUpstream()
        noteCancel()
        endAttempt(.abandoned)
        openBody()
        worker.scratch.append(TaskRecord.cancelledLine)
        flushBody(isLast: true)
        end("stopped")
    }

    // MARK: - Failing

    /// An error as model-compose tells it.
    func respondRun(_ error: ProxyError, _ fields: HeaderFields) {
        var body = ByteQueue()
        let nobody = RunAnswer(workflowID: "", taskID: "", isOutputOnly: true)
        // A task has no state yet that anybody could ask for.
        let answer = run.flatMap { $0.isTask ? nil : $0.answer } ?? nobody
        answer.appendFailure(error.message, into: &body)
        respond(error, body: body.span, fields)
    }

    // MARK: - Workflows

    /// A request that stands beside runs. What is there is told to those whom a workflow's own route would let in.
    func choose(_ wish: WorkflowWish, _ first: RouteEntry) {
        noteRoute(first)
        deadlines.choose(Timeouts(), keepalive: first.spec.keepalive, earlyHeaders: nil)
        var known: [(entry: RouteEntry, owner: String)] = []
        var refused: (entry: RouteEntry, verdict: Verdict)?
        for entry in worker.snapshot.routes.workflows(beside: first) {
            guard let access = entry.access, let authenticator = access.authenticator else {
                known.append((entry, ""))
                continue
            }
            let verdict = judge(access, authenticator)
            if case .admitted(let identity) = verdict {
                record.identity = identity.name
                known.append((entry, "\(identity.kind.rawValue):\(identity.name)"))
            } else {
                refused = refused ?? (entry, verdict)
            }
        }
        if let one = known.first { return answer(wish, known, one.entry) }
        guard let (entry, verdict) = refused, let authenticator = entry.access?.authenticator else { return }
        refuse(verdict, entry, authenticator)
    }

    private func answer(_ wish: WorkflowWish, _ known: [(entry: RouteEntry, owner: String)], _ first: RouteEntry) {
        noteRoute(first)
        let target = RequestTarget(head.target)
        func flag(_ name: String) -> Bool? { target.value(named: name).flatMap(RunRequest.word) }
        func task(_ kind: TaskReading.Kind, _ name: String) {
            guard TaskID.isID(name) else { return failUnknownTask() }
            following = Following(TaskReading(kind, name, known))
        }
        let workflows = known.compactMap(\.entry.spec)
        switch wish {
        case .list:
            let isWhole = flag("include_schema") == true
            answerJSON(200) { WorkflowDocuments.appendList(workflows, withSchema: isWhole, into: &$0) }
        case .schema(let segment):
            let name = StreamName.decoded(segment)
            guard let route = workflows.first(where: { $0.workflow?.id == name }) else {
                return fail(ProxyError(.notFound, .client, "Workflow not found."))
            }
            answerJSON(200) { WorkflowDocuments.append(route, withSchema: true, into: &$0) }
        case .health:
            let isDraining = worker.isDraining
            answerJSON(isDraining ? 503 : 200) {
                $0.append(isDraining ? "{\"status\":\"shutting_down\"}" as StaticString : "{\"status\":\"ok\"}")
            }
        case .resume(let name):
            let name = StreamName.decoded(name) ?? ""
            fail(ProxyError(.badRequest, .client, "Task '\(name)' is not interrupted"))
        case .state(let name): task(flag("output_only") == true ? .output : .state, name)
        case .cancel(let name): task(.cancel(waits: flag("wait_for_completion") ?? true), name)
        case .drop(let name): task(.drop, name)
        }
    }

    /// May be called within what another exchange does just now.
    func answerJSON(_ status: Int, _ reason: String = "done", _ write: (inout ByteQueue) -> Void) {
        var body = ByteQueue()
        write(&body)
        var head = ResponseFields.document(record.requestID, HeaderFields(), route)
        head.fields.append("Cache-Control", "no-store")
        commit(ResponseHead(status: status, fields: head.fields), length: .fixed(body.count))
        send(isLast: true) { $0.append(body.span) }
        end(reason)
    }
}

/// Workflows as their clients are told of them.
enum WorkflowDocuments {
    static func appendList(_ routes: [Route], withSchema: Bool, into out: inout ByteQueue) {
        out.append(ASCII.leftBracket)
        for (index, route) in routes.enumerated() {
            if index > 0 { out.append(ASCII.comma) }
            append(route, withSchema: withSchema, into: &out)
        }
        out.append(ASCII.rightBracket)
    }

    static func append(_ route: Route, withSchema: Bool, into out: inout ByteQueue) {
        guard let workflow = route.workflow else { return }
        var members: [(key: String, value: JSONValue)] = [(key: "workflow_id", value: JSONValue(workflow.id))]
        if let title = workflow.title { members.append((key: "title", value: JSONValue(title))) }
        if withSchema {
            if let summary = workflow.summary { members.append((key: "description", value: JSONValue(summary))) }
            let input = workflow.input.map { variable([(key: "name", value: JSONValue($0))], "string") }
            members.append((key: "input", value: .array(input)))
            members.append((key: "output", value: .array([output(workflow, route.response)])))
        }
        if workflow.isDefault { members.append((key: "default", value: true)) }
        JSONValue.object(members).append(to: &out)
    }

    private static func output(_ workflow: WorkflowSpec, _ response: Route.Response) -> JSONValue {
        if workflow.streams, response == .format(.sseText) || response == .format(.sseJSON) {
            var stream = variable([], "stream")
            stream["subtype"] = response == .format(.sseJSON) ? "json" : "text"
            return stream
        }
        let name = workflow.streams ? nil : workflow.output
        return variable(name.map { [(key: "name", value: JSONValue($0))] } ?? [], "string")
    }

    private static func variable(_ members: [(key: String, value: JSONValue)], _ type: String) -> JSONValue {
        .object(members + [(key: "type", value: JSONValue(type)), (key: "is_list", value: false)])
    }
}
