import SluiceBytes
import SluiceHTTP

/// What must hold of each request's answer.
extension World {
    func judge(_ plan: Plan) {
        guard let outcome = plan.outcome else { return }
        var isWhole = false
        if case .answered = outcome { isWhole = true }
        guard plan.status == 200 else {
            if isWhole, plan.status < 400 || plan.status > 599 { violate("plan \(plan.id) got status \(plan.status)") }
            return require(plan, "status \(plan.status), \(outcome)")
        }
        let answer = ReadAnswer.read(unpacked(plan, isWhole: isWhole), plan, isWhole: isWhole)
        count(complete: answer.ending == .complete)
        defer { if hasViolations { tell("plan \(plan.id) got … \(tail(plan))") } }
        guard plan.text.starts(with: answer.text) else {
            return violate(
                "plan \(plan.id): the text is not what the upstream sent\(difference(plan.text, answer.text))")
        }
        switch answer.ending {
        case .complete:
            if answer.text.count < plan.text.count {
                violate("plan \(plan.id): complete with \(answer.text.count) of \(plan.text.count) bytes of text")
            }
            if !plan.endSent { violate("plan \(plan.id): told complete, though its upstream did not end it") }
        case .error: require(plan, "an error in the stream")
        case .none:
            // A finish is an end, also where what the provider writes behind it was cut.
            if isWhole, !plan.endSent, plan.format != .passthrough, plan.wantsStream || !isGarbled(plan) {
                violate("plan \(plan.id): ended as HTTP says, with neither an end nor an error in it")
            }
            require(plan, "no end, \(outcome)")
        }
        if answer.ending == .complete, !isWhole { require(plan, "an aborted message behind a complete answer") }
    }

    private func require(_ plan: Plan, _ what: String) {
        if plan.outcome == .left || !plan.excuses.isEmpty || isExcused(plan) { return }
        violate("plan \(plan.id) had no reason to fail: \(what)")
    }

    /// Faults of the world that may have hit any request.
    private func isExcused(_ plan: Plan) -> Bool {
        // In a world where upstreams fail, they may be left in peace for a while.
        !setting.isCalm && plan.status == 503 || kernel.socketFaults > 0 && plan.status == 502
            || connectFaults > 0 && (plan.status == 502 || plan.status == 504)
    }

    /// The body as its decoder has it; what was flushed is there, and only what HTTP calls whole has the coding's end.
    private func unpacked(_ plan: Plan, isWhole: Bool) -> [UInt8] {
        guard plan.isCoded else { return plan.body }
        var inflater = Inflater(.gzip)
        var out = ByteQueue()
        var offset = 0
        let coded = plan.body
        do throws(Inflater.Failure) {
            while try inflater.next(coded.span, at: &offset, limit: 1 << 20, into: &out) {}
        } catch {
            violate("plan \(plan.id): what was compressed cannot be inflated: \(error)")
        }
        let isComplete = inflater.isComplete && !plan.body.isEmpty
        if isComplete, plan.format == .text, !plan.endSent {
            violate("plan \(plan.id): whole as gzip says, though its upstream did not end it")
        }
        if isWhole, !isComplete { violate("plan \(plan.id): whole as HTTP says, and cut as gzip does") }
        return out.withUnsafeBytes { Array($0) }
    }

    /// What the client got last, for whoever reads a trace.
    func tail(_ plan: Plan) -> String { String(decoding: plan.body.suffix(300), as: UTF8.self).debugDescription }

    /// A document that is relayed is not read: what is wrong in it is the client's to see.
    private func isGarbled(_ plan: Plan) -> Bool { if case .garbage? = plan.answer.fault { true } else { false } }

    private func difference(_ expected: [UInt8], _ got: [UInt8]) -> String {
        let same = zip(expected, got).prefix { $0 == $1 }.count
        func part(_ bytes: [UInt8]) -> String {
            String(decoding: bytes.dropFirst(max(0, same - 8)).prefix(40), as: UTF8.self)
        }
        return
            " from byte \(same) of \(got.count): \(part(got).debugDescription), not \(part(expected).debugDescription)"
    }

    /// Every request has come to an end that its client saw.
    func judgeAll() {
        for plan in plans where plan.outcome == nil {
            violate("plan \(plan.id) has no answer and no end")
        }
    }
}
