import CLinux
import Glibc

/// Lets one thread sleep until another has something for it (an eventfd).
public final class Wakeup: Sendable {
    private let descriptor: Int32

    public init() throws(SystemError) {
        descriptor = try SystemError.check("eventfd") { eventfd(0, Int32(EFD_CLOEXEC)) }
    }

    deinit { _ = close(descriptor) }

    public func signal() { _ = eventfd_write(descriptor, 1) }

    /// Returns at the first signal since the last call.
    public func wait() {
        var count: UInt64 = 0
        while eventfd_read(descriptor, &count) != 0 && errno == EINTR {}
    }

    /// Returns at the first signal since the last call, or false when the time is over.
    public func wait(upTo milliseconds: Int) -> Bool {
        var entry = pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0)
        // An interruption counts as time that is over: whoever waits looks again.
        guard poll(&entry, 1, Int32(clamping: max(0, milliseconds))) == 1 else { return false }
        wait()
        return true
    }
}
