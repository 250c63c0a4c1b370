/// Where a test cuts its input. A reader must not notice where the network cut what it reads.
public enum Cutter {
    /// Every position up to `full` bytes; behind that every `stride`-th, so that the time stays linear. 7 is prime to
    /// the lengths that repeat in recorded streams, so the positions drift over all parts of an event.
    public static func positions(_ count: Int, full: Int = 16_384, stride step: Int = 7) -> [Int] {
        guard count > full else { return Array(0...count) }
        return Array(0..<full) + Array(stride(from: full, through: count, by: step))
    }

    /// `bytes` in pieces of `size`, the last one perhaps shorter.
    public static func pieces(_ bytes: [UInt8], of size: Int) -> [[UInt8]] {
        stride(from: 0, to: bytes.count, by: size).map { Array(bytes[$0..<min($0 + size, bytes.count)]) }
    }
}
