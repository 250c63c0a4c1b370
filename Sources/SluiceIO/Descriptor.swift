import Glibc

/// Owns one file descriptor and closes it exactly once.
public struct Descriptor: ~Copyable {
    public let raw: Int32

    public init(owning raw: Int32) { self.raw = raw }

    deinit { _ = close(raw) }

    /// Gives up ownership: the caller closes it now.
    public consuming func release() -> Int32 {
        let value = raw
        discard self
        return value
    }
}
