import Glibc

/// Listening sockets that another process left for this one: the service manager by its convention (`LISTEN_FDS`,
/// sd_listen_fds(3)), or the process that this one takes over from, by a variable of our own.
public struct InheritedSocket: Sendable {
    public let socket: ListeningSocket
    /// What the service manager calls it; it holds it too, and whatever waits there outlives us.
    public let name: String?
    /// For which listener our predecessor had it; text that only the two understand.
    public let key: String?

    public init(_ socket: ListeningSocket, name: String?, key: String?) {
        (self.socket, self.name, self.key) = (socket, name, key)
    }

    /// One descriptor as the environment tells of it.
    struct Note: Equatable {
        let descriptor: Int32
        var name: String?
        var key: String?
        var ownsPath = false
    }

    static let variable = "SLUICE_INHERITED_SOCKETS"
    private static let firstDescriptor: Int32 = 3
    /// Far more than anybody has; a number from outside must not make us walk forever.
    private static let limit: Int32 = 4096

    /// Takes what is there, and removes the variables, so that no child of ours believes they were for it. Call once, before
    /// threads start. Descriptors that cannot be used are in `faults`, in words.
    public static func take(_ environment: [String: String]) -> (sockets: [InheritedSocket], faults: [String]) {
        var (sockets, faults): ([InheritedSocket], [String]) = ([], [])
        for note in notes(environment, process: getpid()) {
            do throws(SystemError) {
                let socket = try ListeningSocket(inheriting: note.descriptor, ownsPath: note.ownsPath)
                sockets.append(InheritedSocket(socket, name: note.name, key: note.key))
            } catch {
                faults.append("the inherited descriptor \(note.descriptor) is not a listening stream socket (\(error))")
            }
        }
        for name in ["LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES", "LISTEN_PIDFDID", variable] { unsetenv(name) }
        return (sockets, faults)
    }

    /// What the environment says, for the process of that number.
    static func notes(_ environment: [String: String], process: Int32) -> [Note] {
        var notes: [Note] = []
        if let count = environment["LISTEN_FDS"].flatMap({ Int32($0) }), (1...limit).contains(count),
            environment["LISTEN_PID"] == "\(process)"
        {
            let names = (environment["LISTEN_FDNAMES"] ?? "").split(separator: ":", omittingEmptySubsequences: false)
            for index in 0..<count {
                let name = Int(index) < names.count ? String(names[Int(index)]) : "unknown"
                notes.append(Note(descriptor: firstDescriptor + index, name: name))
            }
        }
        for line in (environment[variable] ?? "").split(separator: "\n") {
            let parts = line.split(separator: "\t", maxSplits: 2, omittingEmptySubsequences: false)
            guard parts.count == 3, let descriptor = Int32(parts[0]), descriptor >= firstDescriptor else { continue }
            switch parts[1] {
            case "name": notes.append(Note(descriptor: descriptor, name: String(parts[2])))
            case "path": notes.append(Note(descriptor: descriptor, key: String(parts[2]), ownsPath: true))
            default: notes.append(Note(descriptor: descriptor, key: String(parts[2])))
            }
        }
        return notes
    }

    /// The variable's value that tells a successor of `sockets`.
    static func variableValue(_ notes: [Note]) -> String {
        notes.map { note in
            let kind = note.name != nil ? "name" : note.ownsPath ? "path" : "own"
            return "\(note.descriptor)\t\(kind)\t\(note.name ?? note.key ?? "")"
        }.joined(separator: "\n")
    }

    var note: Note { Note(descriptor: socket.descriptor, name: name, key: key, ownsPath: socket.ownsPath) }
}
