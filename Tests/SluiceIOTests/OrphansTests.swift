import Glibc
import SluiceIO
import Synchronization
import Testing

@Suite struct OrphansTests {
    private func start(_ arguments: [String]) -> pid_t {
        var pid: pid_t = 0
        var pointers: [UnsafeMutablePointer<CChar>?] = arguments.map { strdup($0) } + [nil]
        defer { for pointer in pointers { free(pointer) } }
        return posix_spawn(&pid, arguments[0], nil, nil, &pointers, environ) == 0 ? pid : -1
    }

    /// Ended, and nobody has waited for it.
    private func waitForEnd(of pid: pid_t) {
        var info = siginfo_t()
        waitid(P_PID, id_t(pid), &info, WEXITED | WNOWAIT)
    }

    @Test func thoseOfThisThreadAreForgottenAndOthersAreNot() throws {
        let others = start(["/bin/true"])
        waitForEnd(of: others)
        let living = start(["/bin/sleep", "60"])
        let done = Mutex(false)
        // On a thread of its own: those of the tests have children that other tests wait for.
        try startThread(named: "orphans") {
            let ended = start(["/bin/true"])
            let lives = start(["/bin/sleep", "60"])
            waitForEnd(of: ended)
            Orphans.reap()
            #expect(kill(ended, 0) == -1 && errno == ESRCH)
            #expect(kill(lives, SIGKILL) == 0)
            waitForEnd(of: lives)
            Orphans.reap()
            #expect(kill(lives, 0) == -1 && errno == ESRCH)
            done.withLock { $0 = true }
        }
        while !done.withLock({ $0 }) { usleep(1000) }
        for pid in [others, living] { #expect(kill(pid, SIGKILL) == 0 && waitpid(pid, nil, 0) == pid) }
    }
}
