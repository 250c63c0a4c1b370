import CLinux
import Glibc
import Synchronization

/// The only thing of a loop that another thread may hold: leaves work for it and wakes it.
public final class Mailbox: Sendable {
    let descriptor: Int32
    private let queue = Mutex<[@Sendable (EventLoop) -> Void]>([])
    private let signalled = Atomic<Bool>(false)

    init() throws(SystemError) {
        descriptor = try SystemError.check("eventfd") { eventfd(0, Int32(EFD_NONBLOCK) | Int32(EFD_CLOEXEC)) }
    }

    deinit { _ = close(descriptor) }

    /// Has `work` run on the loop's thread, in the order of posting.
    public func post(_ work: @escaping @Sendable (EventLoop) -> Void) {
        queue.withLock { $0.append(work) }
        guard !signalled.exchange(true, ordering: .acquiringAndReleasing) else { return }
        _ = eventfd_write(descriptor, 1)
    }

    func drain(on loop: EventLoop) {
        var value: UInt64 = 0
        _ = eventfd_read(descriptor, &value)
        // An exchange and no store: it sees what came before each `post` that found the flag set, and did not wake us.
        _ = signalled.exchange(false, ordering: .acquiringAndReleasing)
        let work = queue.withLock { waiting in
            let taken = waiting
            waiting.removeAll()
            return taken
        }
        for item in work { item(loop) }
    }
}

/// Starts a thread that owns what `body` captures.
public func startThread(named name: String, _ body: sending @escaping () -> Void) throws(SystemError) {
    final class Box {
        let body: () -> Void
        init(_ body: @escaping () -> Void) { self.body = body }
    }
    let box = Unmanaged.passRetained(Box(body))
    var thread = pthread_t()
    let code = pthread_create(
        &thread, nil,
        { argument in
            if let argument { Unmanaged<Box>.fromOpaque(argument).takeRetainedValue().body() }
            return nil
        }, box.toOpaque())
    guard code == 0 else {
        box.release()
        throw SystemError("pthread_create", code)
    }
    _ = pthread_setname_np(thread, name)
    pthread_detach(thread)
}
