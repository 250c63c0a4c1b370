import Glibc
import SluiceBytes

/// Tells when files have changed and are whole again. It watches their folders (inotify(7)), since editors and Kubernetes
/// put a new file, or a new link to a folder, in the place of the old one, and looks at the files themselves to know
/// whether what happened there concerns them.
public final class FileWatch: EventHandler, TimerHandler {
    /// What tells one state of a file from another; `nil`: there is none.
    struct Print: Equatable {
        let numbers: [Int]

        init?(_ path: String) {
            var status = stat()
            guard stat(path, &status) == 0 else { return nil }
            numbers = [
                Int(truncatingIfNeeded: status.st_dev), Int(truncatingIfNeeded: status.st_ino), Int(status.st_size),
                status.st_mtim.tv_sec, status.st_mtim.tv_nsec, status.st_ctim.tv_sec, status.st_ctim.tv_nsec,
            ]
        }
    }

    private unowned let loop: EventLoop
    private let descriptor: Descriptor
    private let changed: () -> Void
    private var files: [String] = []
    private var timer = TimerID.none
    /// As they were when they were last read.
    private var known: [Print?] = []
    /// As they were when they were last looked at.
    private var seen: [Print?] = []

    /// From the first sign of a change, and between two looks that must show the same.
    private static let delay = Interval.milliseconds(200)

    /// `changed` is called on the loop's thread.
    public init(_ files: [String], on loop: EventLoop, changed: @escaping () -> Void) throws(SystemError) {
        let flags = Int32(IN_NONBLOCK) | Int32(IN_CLOEXEC)
        descriptor = Descriptor(owning: try SystemError.check("inotify_init1") { inotify_init1(flags) })
        (self.loop, self.changed) = (loop, changed)
        try loop.register(descriptor.raw, interest: .readable, handler: self)
        try watch(files)
    }

    /// Watches these from now on.
    /// - Throws: for a folder that cannot be watched; the others are.
    public func watch(_ files: [String]) throws(SystemError) {
        // What was known of a file stays: it may have changed since it was read.
        let before = Dictionary(zip(self.files, known), uniquingKeysWith: { first, _ in first })
        known = files.map { before[$0] ?? Print($0) }
        self.files = files
        try watchFolders()
    }

    /// Also those that are watched already, for another folder may have taken a name since; for the same one nothing changes.
    private func watchFolders() throws(SystemError) {
        let events = UInt32(IN_CREATE | IN_CLOSE_WRITE | IN_MOVED_TO | IN_MOVED_FROM | IN_DELETE | IN_ATTRIB)
        var failure: SystemError?
        for folder in Set(files.map(Self.folder)) {
            do throws(SystemError) {
                try SystemError.check("inotify_add_watch") { inotify_add_watch(descriptor.raw, folder, events) }
            } catch {
                failure = error
            }
        }
        if let failure { throw failure }
    }

    public func close() {
        loop.unregister(descriptor.raw)
        loop.cancel(timer)
        timer = .none
    }

    private static func folder(_ path: String) -> String {
        guard let slash = path.lastIndex(of: "/") else { return "." }
        return slash == path.startIndex ? "/" : String(path[..<slash])
    }

    public func ready(_ readiness: Readiness, on loop: EventLoop) {
        // What happened does not matter, nor whether events were lost: the files are looked at.
        withUnsafeTemporaryAllocation(byteCount: 16 << 10, alignment: 8) { buffer in
            while read(descriptor.raw, buffer.baseAddress, buffer.count) > 0 {}
        }
        if timer == .none { look(after: Self.delay) }
    }

    private func look(after delay: Interval) {
        seen = files.map { Print($0) }
        timer = loop.schedule(after: delay, handler: self)
    }

    public func timerFired(_ timer: TimerID, on loop: EventLoop) {
        guard timer == self.timer else { return }
        self.timer = .none
        try? watchFolders()
        let now = files.map { Print($0) }
        if now == known { return }
        // Still being written, or between its removal and its return.
        guard now == seen else { return look(after: Self.delay) }
        known = now
        changed()
    }
}
