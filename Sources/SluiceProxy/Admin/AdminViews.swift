import SluiceBytes
import SluiceHTTP
import SluiceIO
import SluiceStreams

/// What operators look at: metrics, and the streams that live.
extension AdminServer {
    func tellMetrics(_ head: RequestHead, _ reply: @escaping (AdminReply) -> Void) {
        let began = EventLoop.clock()
        let format = MetricsFormat(accepted: head.fields)
        gather({ worker, _ in .report(worker.report()) }) { [self] _, missing in
            forgetStopped()
            var state = MetricsExposition.ProcessState()
            (state.version, state.started, state.process) = (controls.version, started, ProcessMetrics.read())
            (state.connections, state.connectionLimit) = (server.shared.budget.count, server.shared.budget.limit)
            (state.droppedLines, state.reloads) = (log.dropped, server.history.current)
            (state.isDraining, state.workers, state.missing) = (server.isDraining, server.workerCount, missing)
            (state.bufferBytes, state.processes) = (BufferedBytes.total, server.processes)
            state.bufferLimit = server.configuration.limits.bufferedBytes ?? server.shared.bufferedBytes
            state.generations = server.shared.generations.count
            state.traces = server.shared.traces.counts
            state.generationBytes = server.shared.generations.keptBytes
            state.tasks = server.shared.generations.runningTasks
            state.gatheringSeconds = (EventLoop.clock() - began).seconds
            let snapshot = server.currentSnapshot
            (state.known, state.certificates) = (KnownSeries(snapshot.configuration), snapshot.certificates)
            let text = MetricsExposition.text(lastReports.compactMap { $0 }, state, format)
            reply(AdminReply(contentType: format.contentType, body: text, fields: [("Vary", "Accept")]))
        }
    }

    /// What a worker counted stays when it has drained and stopped; it holds nothing any more.
    func forgetStopped() {
        let living = server.livingWorkers
        for index in lastReports.indices where !living.contains(index) {
            lastReports[index]?.live = [:]
            lastReports[index]?.liveByUpstream = [:]
            lastReports[index]?.upstreams = []
        }
    }

    func listStreams(_ limit: Int, _ reply: @escaping (AdminReply) -> Void) {
        gather({ worker, index in .streams(worker.streams(worker: index, limit: limit), total: worker.streamCount) }) {
            answers, missing in
            var entries: [StreamEntry] = []
            var total = 0
            for case .streams(let some, let count) in answers.values {
                entries += some
                total += count
            }
            entries.sort { $0.ageMilliseconds > $1.ageMilliseconds }
            reply(
                .json([
                    "total": JSONValue(total), "streams": .array(entries.prefix(limit).map(Self.document)),
                    "workers_missing": .array(missing.map { JSONValue($0) }),
                ]))
        }
    }

    func cancel(_ worker: Int, _ serial: Int, _ reply: @escaping (AdminReply) -> Void) {
        let log = log
        gather(only: worker, { worker, _ in .cancelled(worker.cancelStream(serial)) }) { answers, missing in
            if !missing.isEmpty { return reply(.message(503, "the stream's worker does not answer")) }
            guard case .cancelled(true)? = answers[worker] else {
                return reply(.message(404, "there is no such stream, or it is over"))
            }
            log.write(.warning, "stream_cancelled", ["stream": "\(worker)-\(serial)"])
            reply(.json(["status": "cancelled"]))
        }
    }

    static func document(_ entry: StreamEntry) -> JSONValue {
        [
            "id": JSONValue("\(entry.worker)-\(entry.serial)"), "request_id": JSONValue(entry.requestID),
            "client": JSONValue(entry.client), "protocol": JSONValue(entry.protocolText),
            "route": JSONValue(entry.route), "upstream": JSONValue(entry.upstream), "format": JSONValue(entry.format),
            "model": JSONValue(String(entry.model.prefix(128))), "state": JSONValue(entry.state),
            "age_ms": JSONValue(entry.ageMilliseconds), "status": JSONValue(entry.status),
            "tokens": JSONValue(entry.tokens), "bytes_sent": JSONValue(entry.sentBytes),
            "buffered_bytes": JSONValue(entry.bufferedBytes), "paused": .bool(entry.isPaused),
            "first_token_ms": entry.firstTokenMilliseconds.map { JSONValue($0) } ?? .null,
            "silence_ms": entry.silenceMilliseconds.map { JSONValue($0) } ?? .null,
            "tokens_per_second": entry.tokensPerSecond.map { JSONValue(tenths: $0) } ?? .null,
            "client_stall_ms": JSONValue(entry.clientStallMilliseconds),
        ]
    }
}
