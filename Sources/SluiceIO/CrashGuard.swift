import CLinux
import Glibc

/// Keeps what stands in memory, keys and prompts, out of what a crash leaves behind.
///
/// A core file is a copy of the memory, and the Swift runtime's report of a crash shows pieces of it beside the registers. For
/// work on Sluice itself both are wanted: `SWIFT_BACKTRACE` in the environment leaves everything as it is.
public enum CrashGuard {
    /// Call once, before anything secret is read.
    public static func install() {
        guard getenv("SWIFT_BACKTRACE") == nil else { return }
        sl_forbid_dumps()
        for number in [SIGSEGV, SIGBUS, SIGILL, SIGTRAP, SIGFPE, SIGABRT] { signal(number, report) }
    }

    /// Says that it crashed, and lets the signal end the process as it would have.
    private static let report: @convention(c) (Int32) -> Void = { number in
        let text: StaticString = "sluice: crashed, by signal "
        _ = write(2, text.utf8Start, text.utf8CodeUnitCount)
        var digits = (UInt8(0x30 + number / 10), UInt8(0x30 + number % 10), UInt8(0x0A))
        withUnsafeBytes(of: &digits) { bytes in _ = write(2, bytes.baseAddress, bytes.count) }
        signal(number, SIG_DFL)
        raise(number)
    }
}
