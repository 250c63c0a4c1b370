import Glibc

/// Processes whose parent has ended become children of process 1 of their container. If that does not wait for them, they stay in the
/// table of processes until it is full.
public enum Orphans {
    /// The kernel's own flag, which the C library's headers keep behind a macro of their own (wait(2)).
    private static let ownThreadOnly: Int32 = 0x2000_0000  // __WNOTHREAD

    /// This process gets them: it is process 1.
    public static var comeHere: Bool { getpid() == 1 }

    /// Forgets those that have ended. Call on the main thread, to which they come, when SIGCHLD does. Children of other threads are
    /// left alone: those who started them wait for them.
    public static func reap() {
        while waitpid(-1, nil, WNOHANG | ownThreadOnly) > 0 {}
    }
}
