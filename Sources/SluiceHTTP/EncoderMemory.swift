import Glibc
import SluiceBytes

/// What a C library allocates for one encoder: counted, so that it stands in the account of the process's buffers.
///
/// Each piece carries its size in front of it. There is no bound in here, as brotli ends the process where it gets no memory: whoever
/// makes an encoder looks at the account before.
final class EncoderMemory {
    private(set) var heldBytes = 0
    private(set) var mostBytes = 0

    /// Keeps what follows it aligned for any type.
    private static let headBytes = 16

    /// For the library. Whoever owns the encoder owns this object too, and for longer.
    var opaque: UnsafeMutableRawPointer { Unmanaged.passUnretained(self).toOpaque() }

    static let zlibTake: @convention(c) (UnsafeMutableRawPointer?, UInt32, UInt32) -> UnsafeMutableRawPointer? = {
        take($0, Int($1) * Int($2))
    }
    static let brotliTake: @convention(c) (UnsafeMutableRawPointer?, Int) -> UnsafeMutableRawPointer? = { take($0, $1) }
    static let give: @convention(c) (UnsafeMutableRawPointer?, UnsafeMutableRawPointer?) -> Void = { context, piece in
        guard let piece, let memory = memory(context) else { return }
        let start = piece - headBytes
        memory.count(-start.load(as: Int.self))
        free(start)
    }

    private static func memory(_ context: UnsafeMutableRawPointer?) -> EncoderMemory? {
        context.map { Unmanaged<EncoderMemory>.fromOpaque($0).takeUnretainedValue() }
    }

    private static func take(_ context: UnsafeMutableRawPointer?, _ bytes: Int) -> UnsafeMutableRawPointer? {
        let whole = bytes + headBytes
        guard let memory = memory(context), let start = malloc(whole) else { return nil }
        start.storeBytes(of: whole, as: Int.self)
        memory.count(whole)
        return start + headBytes
    }

    private func count(_ bytes: Int) {
        heldBytes += bytes
        mostBytes = max(mostBytes, heldBytes)
        if bytes > 0 { BufferedBytes.took(bytes) } else { BufferedBytes.gaveBack(-bytes) }
    }
}
