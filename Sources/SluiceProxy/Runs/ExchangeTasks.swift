import SluiceBytes
import SluiceConfig
import SluiceHTTP
import SluiceStreams

/// What a request wants of a task, and how far it has read what is kept of it.
final class TaskReading {
    enum Kind: Equatable {
        case state
        /// The output and nothing around it.
        case output
        case cancel(waits: Bool)
        case drop
    }
    let kind: Kind
    let name: String
    /// Those whose tasks the client may see, and as whom.
    let known: [(entry: RouteEntry, owner: String)]
    var answer: RunAnswer
    /// Set where the output is sent on as it is read.
    var stream: RunText?
    var record = TaskRecord(limitBytes: 64 << 20)
    /// What it says, where it is sent whole.
    var text = ByteQueue()

    init(_ kind: Kind, _ name: String, _ known: [(entry: RouteEntry, owner: String)]) {
        (self.kind, self.name, self.known) = (kind, name, known)
        answer = RunAnswer(workflowID: "", taskID: name, isOutputOnly: kind == .output)
    }
}

/// An exchange that asks for a task that another one runs, or has run.
extension Exchange {
    // MARK: - Looking for it

    func lookForTask(_ task: TaskReading) {
        let owners = task.known.map(\.owner)
        look(task, Array(Set(owners)).sorted()[...])
    }

    private func look(_ task: TaskReading, _ owners: ArraySlice<String>) {
        guard let owner = owners.first, let route else { return failUnknownTask() }
        let isShared = task.known.contains { $0.entry.spec.tasks.store == .redis }
        let scope = Self.scope(route, owner: owner)
        worker.generations.find([.alias(task.name)], scope: scope, in: isShared ? .redis : .memory) {
            [weak self] result in
            guard let self, phase == .following else { return }
            switch result {
            case .failure: failStore()
            case .success(nil): look(task, owners.dropFirst())
            case .success(let known?): found(task, known, owner)
            }
        }
    }

    func failUnknownTask() {
        worker.metrics.resumption.unknown += 1
        fail(ProxyError(.notKept(.unknown), .client, "Task not found."))
    }

    /// Another workflow may let the client in under a name that is somebody else's in this one. Of a workflow that is no more, the
    /// name is all there is.
    private func isTold(_ task: TaskReading, _ id: String, _ owner: String) -> Bool {
        guard let route else { return false }
        let isThere = worker.snapshot.routes.workflows(beside: route).contains { $0.spec.workflow?.id == id }
        return !isThere || task.known.contains { $0.entry.spec.workflow?.id == id && $0.owner == owner }
    }

    private func found(_ task: TaskReading, _ known: GenerationDirectory.Found, _ owner: String) {
        let id = known.facts.workflow ?? ""
        guard isTold(task, id, owner) else { return failUnknownTask() }
        let entry = task.known.first { $0.entry.spec.workflow?.id == id }?.entry
        let workflow = entry?.spec.workflow
        (task.answer.workflowID, task.answer.output) = (id, workflow?.output)
        record.task = task.name
        switch task.kind {
        case .drop:
            worker.metrics.resumption.stopped += 1
            worker.generations.requestStop(known.facts.id)
            answerEmpty("done")
        case .cancel where known.isEnded:
            answerJSON(409) {
                JSONValue.object([(key: "detail", value: JSONValue("Task '\(task.name)' has already finished"))])
                    .append(to: &$0)
            }
        case .cancel(let waits):
            worker.metrics.resumption.stopped += 1
            worker.generations.requestCancel(known.facts.id)
            if waits { follow(known) } else { answerState(task, "cancelling", 200) }
        case .state where !known.isEnded: answerState(task, "processing", 200)
        case .output where !known.isEnded && workflow?.streams == false: answerState(task, "processing", 202)
        case .output where workflow?.streams != false:
            if let entry, case .format(let format) = entry.spec.response { expectation.format = format }
            task.stream = RunText(RunText.Form(expectation.format) ?? .lines)
            follow(known)
        case .state, .output: follow(known)
        }
    }

    private func follow(_ known: GenerationDirectory.Found) {
        guard let following else { return }
        (following.id, following.isEnded) = (known.facts.id, known.isEnded)
        record.format = expectation.format
        following.subscription = worker.generations.follow(known.facts.id, from: 0, self)
    }

    // MARK: - Reading it

    func taskBytes(_ task: TaskReading, _ bytes: Span<UInt8>) {
        guard var encoder = task.stream else {
            return task.record.read(bytes) { task.text.append($0) }
        }
        var run = ByteQueue()
        task.record.read(bytes) { encoder.write($0, into: &run) }
        task.stream = encoder
        if run.isEmpty { return }
        // Of what is over, the status can still tell how it ended.
        if following?.isEnded == true { return task.text.append(run.span) }
        commitTaskStream(encoder)
        send(isLast: false) { $0.append(run.span) }
    }

    private func commitTaskStream(_ encoder: RunText) {
        guard !isCommitted else { return }
        let type = encoder.contentType.description
        commit(ResponseFields.stream(type, [], record.requestID, HeaderFields(), route), length: .chunked)
    }

    func taskEnded(_ task: TaskReading) {
        following?.subscription = nil
        tell(task, task.record.outcome ?? .failed("the task was cut off"))
    }

    func taskFailed(_ task: TaskReading, _ failure: ReplayFailure) {
        following?.subscription = nil
        worker.metrics.resumption.count(failure)
        switch failure {
        case .forgotten: tell(task, .failed("the output is larger than what is kept of it (resume.buffer)"))
        case .ownerGone: tell(task, .failed("the server that ran the task is gone"))
        case .unknown where !isCommitted:
            worker.loop.afterTurn { [weak self] in self?.failUnknownTask() }
        case .storeAway where !isCommitted:
            worker.loop.afterTurn { [weak self] in self?.failStore() }
        case .unknown, .storeAway: cutTask("resume_store_away")
        }
    }

    /// The client must not take what it has for all.
    func cutTask(_ reason: String) {
        following?.cancel()
        client.abort()
        end(reason)
    }

    private func tell(_ task: TaskReading, _ outcome: TaskRecord.Outcome) {
        switch outcome {
        case .completed:
            var text = ByteQueue()
            swap(&text, &task.text)
            if let encoder = task.stream {
                commitTaskStream(encoder)
                send(isLast: true) { $0.append(moving: &text) }
                return end("done")
            }
            let (answer, isWhole) = (task.answer, task.kind != .output)
            answerJSON(200) { out in
                if isWhole {
                    answer.appendCompleted(text.span, into: &out)
                } else {
                    answer.appendOutput(text.span, into: &out)
                }
            }
        case .failed, .cancelled:
            if isCommitted { return cutTask("eof") }
            tellFailure(task, outcome)
        }
    }

    private func tellFailure(_ task: TaskReading, _ outcome: TaskRecord.Outcome) {
        guard case .failed(let message) = outcome else {
            return answerState(task, "cancelled", task.kind == .output ? 409 : 200)
        }
        if task.kind == .output {
            return answerJSON(500) { task.answer.appendFailure(message, into: &$0) }
        }
        answerJSON(200) { out in
            task.answer.openState("failed", into: &out)
            out.append(",\"error\":")
            JSONText.appendQuoted(message, into: &out)
            out.append(ASCII.rightBrace)
        }
    }

    private func answerState(_ task: TaskReading, _ state: StaticString, _ status: Int) {
        answerJSON(status) { out in
            task.answer.openState(state, into: &out)
            out.append(ASCII.rightBrace)
        }
    }
}
