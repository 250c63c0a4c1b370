import Glibc
import SluiceBytes
import Testing

@testable import SluiceIO

@Suite struct SupervisedProcessTests {
    @Test func theParentStandsBehindAnyName() {
        for (stat, parent) in [
            ("7 (sleep) S 42 7 7 0", 42), ("7 (a b) c)) R 1 7", 1), ("7 (x) S", nil), ("7 (x S 1", nil), ("", nil),
            ("7 (x) S -1 2", -1), ("7 (x) S none 2", nil),
        ] as [(String, pid_t?)] {
            #expect(ProcessTree.parent(inStat: Array(stat.utf8)[...]) == parent, "\(stat)")
        }
    }

    @Test func aStatusIsACodeOrASignal() {
        #expect(ExitStatus(waitStatus: 0) == .code(0) && ExitStatus(waitStatus: 0).isClean)
        #expect(ExitStatus(waitStatus: 3 << 8) == .code(3) && !ExitStatus(waitStatus: 3 << 8).isClean)
        #expect(ExitStatus(waitStatus: 9) == .signal(9))
        #expect(ExitStatus(waitStatus: 11 | 0x80) == .signal(11), "with a core dump")
    }

    @Test func ourOwnChildrenAreAmongOurDescendants() throws {
        let sleep = ChildProcess(path: "/bin/sleep", arguments: ["sleep", "600"], environment: [])
        let child = try sleep.spawn(descriptors: [nil, nil, nil])
        #expect(ProcessTree.descendants(of: getpid()).contains(child))
        #expect(getsid(child) == child, "a session of its own")
        kill(child, SIGKILL)
        waitpid(child, nil, 0)
    }

    /// Stands in for the supervisor: says its lines on descriptor 3, and shows what it was given.
    private final class Witness: SupervisedProcessDelegate {
        var events: [SupervisedProcess.Event] = []
        var output: [String: String] = [:]

        func process(_ process: SupervisedProcess, came event: SupervisedProcess.Event) { events.append(event) }
        func process(_ process: SupervisedProcess, wrote bytes: Span<UInt8>, to stream: SupervisedProcess.Stream) {
            output[stream.rawValue, default: ""] += bytes.withUnsafeBufferPointer {
                String(decoding: $0, as: UTF8.self)
            }
        }
    }

    private func run(_ script: String, stopping: Bool = false) throws -> Witness {
        let loop = try EventLoop()
        let witness = Witness()
        let job = Supervisor.Job(command: ["x"], directory: nil, stopSignal: SIGTERM, stopTimeout: .seconds(1))
        let shell = ChildProcess(
            path: "/bin/sh", arguments: ["sh", "-c", script, "sh"], environment: ["GIVEN=yes", "PATH=/usr/bin:/bin"])
        let process = try SupervisedProcess(job, supervisor: shell, capturesOutput: true, on: loop, delegate: witness)
        if stopping { process.stop() }
        for _ in 0..<1000 where witness.events.last != .gone { try loop.turn(maximumWait: 20) }
        return witness
    }

    @Test func whatASupervisorSaysIsHeardInOrder() throws {
        let script = """
            echo "$@ $GIVEN"; echo bad >&2; echo started 42 >&3; printf 'exited 256\\nfailed 2 exec\\nnonsense\\n\\n' >&3
            ls /proc/self/fd | wc -w
            """
        let witness = try run(script)
        let failed = SupervisedProcess.Event.failed("exec: No such file or directory")
        #expect(witness.events == [.started(pid: 42), .exited(.code(1)), failed, .gone])
        // 0 to 3, and the one that `ls` reads the folder with.
        let arguments = "--stop-signal 15 --stop-timeout 1000ms -- x yes\n"
        #expect(witness.output == ["stdout": arguments + "5\n", "stderr": "bad\n"])
    }

    @Test func theWishToStopIsTheEndOfTheSocket() throws {
        let witness = try run("cat <&3; echo started 1 >&3", stopping: true)
        #expect(witness.events == [.started(pid: 1), .gone])
    }
}
