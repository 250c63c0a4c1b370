/// Owns one file descriptor and closes it exactly once.
public struct Descriptor: ~Copyable {
    public private(set) var raw: Int32
    private let kernel: any Kernel

    public init(owning raw: Int32) { self.init(owning: raw, of: LinuxKernel.shared) }

    package init(owning raw: Int32, of kernel: any Kernel) { (self.raw, self.kernel) = (raw, kernel) }

    deinit { if raw >= 0 { kernel.close(raw) } }

    /// Gives up ownership: the caller closes it now.
    public consuming func release() -> Int32 {
        let value = raw
        raw = -1
        return value
    }
}
