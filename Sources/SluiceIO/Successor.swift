import CLinux
import Glibc

/// A new process that takes over this one's listening sockets: the same arguments, and whatever program now stands where
/// this one's did. It says through a pipe when it serves; if the pipe ends before that, it has failed.
public struct Successor: ~Copyable {
    public let process: pid_t
    /// Readable when it serves (one byte) or has failed (the end).
    public let pipe: Descriptor

    private static let readyVariable = "SLUICE_READY_DESCRIPTOR"

    /// Variables that are for this process alone.
    private static let ownVariables: Set<String> = [
        "LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES", "LISTEN_PIDFDID", "WATCHDOG_PID", readyVariable,
        InheritedSocket.variable,
    ]

    /// Starts `arguments[0]`, which is looked for in PATH if it has no slash.
    public static func start(
        _ arguments: [String], environment: [String: String], sockets: [InheritedSocket]
    ) throws(SystemError) -> Successor {
        var ends: [Int32] = [-1, -1]
        try SystemError.check("pipe2") { pipe2(&ends, O_CLOEXEC) }
        let reading = Descriptor(owning: ends[0])
        let writing = Descriptor(owning: ends[1])
        var variables = environment.filter { !ownVariables.contains($0.key) }.map { "\($0.key)=\($0.value)" }
        variables.append("\(InheritedSocket.variable)=\(InheritedSocket.variableValue(sockets.map(\.note)))")
        variables.append("\(readyVariable)=\(writing.raw)")
        let process = try spawn(
            arguments, environment: variables, keeping: sockets.map(\.socket.descriptor) + [writing.raw])
        _ = fcntl(reading.raw, F_SETFL, O_NONBLOCK)
        return Successor(process: process, pipe: reading)
    }

    /// Tells the predecessor, if there is one that waits, that this process serves. Call once.
    public static func reportReady(_ environment: [String: String]) {
        guard let raw = environment[readyVariable].flatMap({ Int32($0) }), raw > 2 else { return }
        unsetenv(readyVariable)
        _ = fcntl(raw, F_SETFD, FD_CLOEXEC)
        let pipe = Descriptor(owning: raw)
        var byte: UInt8 = 1
        _ = write(pipe.raw, &byte, 1)
    }

    /// All descriptors but `keeping` and the standard three close on exec; those keep their numbers.
    private static func spawn(
        _ arguments: [String], environment: [String], keeping: [Int32]
    ) throws(SystemError) -> pid_t {
        var actions = posix_spawn_file_actions_t()
        posix_spawn_file_actions_init(&actions)
        defer { posix_spawn_file_actions_destroy(&actions) }
        for descriptor in keeping { posix_spawn_file_actions_adddup2(&actions, descriptor, descriptor) }
        var (words, variables) = (arguments.map { strdup($0) }, environment.map { strdup($0) })
        defer { for text in words + variables { free(text) } }
        words.append(nil)
        variables.append(nil)
        var process: pid_t = 0
        guard let program = words.first ?? nil else { throw SystemError("posix_spawn", ENOENT) }
        let code = posix_spawnp(&process, program, &actions, nil, words, variables)
        guard code == 0 else { throw SystemError("posix_spawn", code) }
        return process
    }
}
