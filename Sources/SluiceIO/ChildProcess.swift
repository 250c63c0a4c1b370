import CLinux
import Glibc

/// How a process ended.
public enum ExitStatus: Equatable, Sendable, CustomStringConvertible {
    case code(Int32)
    case signal(Int32)

    /// What `wait` reported (POSIX.1-2017, <sys/wait.h>).
    public init(waitStatus: Int32) {
        let signal = waitStatus & 0x7F
        self = signal == 0 ? .code((waitStatus >> 8) & 0xFF) : .signal(signal)
    }

    /// Its end was no failure.
    public var isClean: Bool { self == .code(0) }

    public var description: String {
        switch self {
        case .code(let code): "code \(code)"
        case .signal(let signal): "signal \(signal)"
        }
    }
}

/// Starts a program that gets nothing of this process but what it is given: no other descriptor, no signal mask, no handler.
public struct ChildProcess: Sendable {
    public let path: String
    /// The first is the program's name for itself.
    public let arguments: [String]
    /// `NAME=value`.
    public let environment: [String]

    public init(path: String, arguments: [String], environment: [String]) {
        (self.path, self.arguments, self.environment) = (path, arguments, environment)
    }

    /// In a session of its own, so that no terminal's signal reaches it. `descriptors` become 0, 1, 2 …; nil is `/dev/null`. They
    /// stay open here, and must not be among the numbers that they become.
    func spawn(descriptors: [Int32?]) throws(SystemError) -> pid_t {
        var actions = posix_spawn_file_actions_t()
        posix_spawn_file_actions_init(&actions)
        defer { posix_spawn_file_actions_destroy(&actions) }
        var code: Int32 = 0
        for (number, descriptor) in descriptors.enumerated() where code == 0 {
            let number = Int32(number)
            if let descriptor {
                code = posix_spawn_file_actions_adddup2(&actions, descriptor, number)
            } else {
                code = posix_spawn_file_actions_addopen(&actions, number, "/dev/null", O_RDWR, 0)
            }
        }
        // Ours are all close-on-exec; those of a library may not be.
        if code == 0 { code = posix_spawn_file_actions_addclosefrom_np(&actions, Int32(descriptors.count)) }
        guard code == 0 else { throw SystemError("posix_spawn_file_actions", code) }

        var attributes = posix_spawnattr_t()
        posix_spawnattr_init(&attributes)
        defer { posix_spawnattr_destroy(&attributes) }
        var (none, all) = (sigset_t(), sigset_t())
        sigemptyset(&none)
        sigfillset(&all)
        posix_spawnattr_setsigmask(&attributes, &none)
        posix_spawnattr_setsigdefault(&attributes, &all)
        let flags = Int32(SL_SPAWN_SETSID) | Int32(POSIX_SPAWN_SETSIGMASK) | Int32(POSIX_SPAWN_SETSIGDEF)
        posix_spawnattr_setflags(&attributes, Int16(truncatingIfNeeded: flags))

        var pid = pid_t()
        code = CStrings.with(arguments) { arguments in
            CStrings.with(environment) { posix_spawn(&pid, path, &actions, &attributes, arguments, $0) }
        }
        guard code == 0 else { throw SystemError("posix_spawn", code) }
        return pid
    }

    /// This process's environment, `NAME=value` each.
    public static func environment() -> [String] {
        var result: [String] = []
        var entry = environ
        while let text = entry.pointee {
            result.append(String(cString: text))
            entry += 1
        }
        return result
    }
}

/// Arrays of C strings, ended by a null pointer, as exec and spawn want them.
enum CStrings {
    static func with<R>(_ texts: [String], _ body: (UnsafePointer<UnsafeMutablePointer<CChar>?>) -> R) -> R {
        var pointers: [UnsafeMutablePointer<CChar>?] = texts.map { strdup($0) }
        defer { for pointer in pointers { free(pointer) } }
        pointers.append(nil)
        return pointers.withUnsafeBufferPointer { buffer in
            guard let base = buffer.baseAddress else { preconditionFailure("an array with an element has an address") }
            return body(base)
        }
    }
}

/// Two connected descriptors, close-on-exec, with numbers that no child's own ones reach.
struct DescriptorPair: ~Copyable {
    let first: Descriptor
    let second: Descriptor

    /// `first` is read from, `second` written to.
    static func pipe() throws(SystemError) -> DescriptorPair {
        var pair: [Int32] = [-1, -1]
        try SystemError.check("pipe2") { pipe2(&pair, O_CLOEXEC) }
        return try DescriptorPair(raising: pair)
    }

    static func sockets() throws(SystemError) -> DescriptorPair {
        var pair: [Int32] = [-1, -1]
        try SystemError.check("socketpair") { socketpair(AF_UNIX, Int32(SL_STREAM) | Int32(SL_CLOEXEC), 0, &pair) }
        return try DescriptorPair(raising: pair)
    }

    private init(raising pair: [Int32]) throws(SystemError) {
        let low = Descriptor(owning: pair[0])
        let other = Descriptor(owning: pair[1])
        let (one, two) = (try Self.raised(low), try Self.raised(other))
        first = Descriptor(owning: one)
        second = Descriptor(owning: two)
    }

    private static func raised(_ low: borrowing Descriptor) throws(SystemError) -> Int32 {
        let raw = low.raw
        return try SystemError.check("fcntl") { fcntl(raw, F_DUPFD_CLOEXEC, 10) }
    }
}
