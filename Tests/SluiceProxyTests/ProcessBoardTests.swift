import SluiceBytes
import SluiceConfig
import SluiceIO
import Testing

@testable import SluiceProxy

@Suite struct ProcessBoardTests {
    private func upstream(_ name: String = "model", port: Int = 1, command: String? = "model") -> UpstreamSpec {
        var spec = UpstreamSpec(name: name, url: UpstreamURL(isTLS: false, host: "127.0.0.1", port: port))
        spec.process = command.map { ProcessSpec(command: [$0]) }
        return spec
    }

    private func status(_ state: ProcessStatus.State) -> ProcessStatus {
        ProcessStatus(name: "model", state: state, pid: 7, restarts: 2)
    }

    private func board(_ change: (inout ProcessSpec) -> Void = { _ in }) -> ProcessBoard {
        var spec = ProcessSpec(command: ["model"])
        change(&spec)
        return ProcessBoard(id: 1, upstream(), spec)
    }

    @Test func aGateHearsOfChangesOnItsOwnLoop() throws {
        let board = board()
        let loop = try EventLoop()
        let gate = ProcessGate(ProcessHandle(board, nil), on: loop)
        #expect(!gate.isOpen && gate.wait == .seconds(60) && gate.refusal == nil)
        let finished = Shared(false)
        try startThread(named: "process") { [status = status(.ready)] in
            board.publish(.ready, status)
            finished.change { $0 = true }
        }
        #expect(eventually { finished.value })
        #expect(!gate.isOpen, "not before its loop turns")
        try loop.turn(maximumWait: 0)
        #expect(gate.isOpen && gate.wait == nil && gate.refusal == nil)
        #expect(board.status == status(.ready))
        // Who comes later finds what holds.
        #expect(ProcessGate(ProcessHandle(board, nil), on: loop).isOpen)
    }

    @Test func aRefusalSaysWhenToAskAgain() throws {
        let board = board()
        let loop = try EventLoop()
        let gate = ProcessGate(ProcessHandle(board, nil), on: loop)
        board.publish(.unavailable(until: loop.now + .milliseconds(7100), why: "code 1"), status(.backoff))
        try loop.turn(maximumWait: 0)
        let error = try #require(gate.refusal)
        #expect(error.kind == .unavailable && error.status == 503 && (7...8).contains(error.retryAfterSeconds))
        #expect(error.detail == "code 1" && !error.message.contains("code"))
        board.publish(.unavailable(until: nil, why: "code 1"), status(.failed))
        try loop.turn(maximumWait: 0)
        #expect(gate.refusal?.retryAfterSeconds == 1)
    }

    @Test func whereNobodyWaitsAStartIsARefusal() throws {
        let gate = ProcessGate(ProcessHandle(board { $0.wait = .zero }, nil), on: try EventLoop())
        #expect(gate.refusal?.kind == .starting)
    }

    @Test func aRefusedConnectionIsTriedAgainForAWhile() throws {
        let board = board()
        let loop = try EventLoop()
        let gate = ProcessGate(ProcessHandle(board, nil), on: loop)
        let early = gate.redialsSoon()
        #expect(!early, "nothing to try while it starts")
        board.publish(.ready, status(.ready))
        try loop.turn(maximumWait: 0)
        let first = gate.redialsSoon()
        #expect(first && !gate.isOpen)
        for _ in 0..<100 where !gate.isOpen { try loop.turn(maximumWait: 50) }
        #expect(gate.isOpen)
        var more = 0
        while more < 100, gate.redialsSoon() { more += 1 }
        #expect(more == 19)
        gate.connected()
        let afterwards = gate.redialsSoon()
        #expect(afterwards)
    }

    @Test func onePlaceAndOneSpecIsOneProcess() throws {
        var quiet = LogSpec()
        quiet.level = .error
        let directory = ProcessDirectory(log: try LogWriter(quiet))
        let loop = try EventLoop()
        #expect(directory.gate(for: upstream("none", command: nil), on: loop) == nil)
        var gates = [
            directory.gate(for: upstream(), on: loop), directory.gate(for: upstream("second"), on: loop),
            directory.gate(for: upstream("other", port: 2), on: loop),
        ]
        #expect(directory.statuses.map(\.name) == ["model", "other"])
        // While one takes another's place there are two, and one figure for the name.
        gates.append(directory.gate(for: upstream("model", command: "changed"), on: loop))
        #expect(directory.statuses.map(\.name) == ["other", "model"])
        #expect(directory.statuses.allSatisfy { $0.state == .starting && $0.pid == nil && $0.restarts == 0 })
        #expect(directory.stopLimit == .seconds(15))
        withExtendedLifetime(gates) {}
        let stopped = Shared(false)
        directory.stop { stopped.change { $0 = true } }
        #expect(stopped.value, "nothing has begun")
    }
}
