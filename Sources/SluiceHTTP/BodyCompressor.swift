import CBrotli
import CZlib
import SluiceBytes

/// Body bytes in, compressed ones out: all that went in before a flush comes out of a decoder that has read up to it, so that no
/// event is held back.
///
/// Pure: no socket, no clock. Its memory is that of its library, sized for streams of small events, and counted with what the
/// queues of the process hold. One owner; the library's state ends with it.
public struct BodyCompressor: ~Copyable {
    private enum Engine {
        case gzip(UnsafeMutablePointer<z_stream>)
        case brotli(OpaquePointer)
    }
    private let engine: Engine
    private let memory: EncoderMemory

    /// The most that one of them holds, in bytes, however long its stream and each piece of it is. Of small events brotli holds a
    /// third.
    public static func memoryBytes(_ coding: BodyCoding) -> Int {
        switch coding {
        case .gzip: 32 << 10
        case .brotli: 2 << 20
        }
    }

    /// Measured with an event a flush, over recorded streams (OPERATIONS.md, "Compression"): a larger window or state gains less than 5 %.
    private static let gzip = (level: Int32(6), windowBits: Int32(12), memoryLevel: Int32(4))
    private static let brotli = (quality: UInt32(5), windowBits: UInt32(16))

    /// nil: there is no memory for it.
    public init?(_ coding: BodyCoding) {
        let memory = EncoderMemory()
        switch coding {
        case .gzip:
            guard let stream = Self.makeDeflate(memory) else { return nil }
            engine = .gzip(stream)
        case .brotli:
            guard let state = BrotliEncoderCreateInstance(EncoderMemory.brotliTake, EncoderMemory.give, memory.opaque)
            else { return nil }
            BrotliEncoderSetParameter(state, BROTLI_PARAM_QUALITY, Self.brotli.quality)
            BrotliEncoderSetParameter(state, BROTLI_PARAM_LGWIN, Self.brotli.windowBits)
            BrotliEncoderSetParameter(state, BROTLI_PARAM_MODE, UInt32(BROTLI_MODE_TEXT.rawValue))
            engine = .brotli(state)
        }
        self.memory = memory
    }

    private static func makeDeflate(_ memory: EncoderMemory) -> UnsafeMutablePointer<z_stream>? {
        let stream = UnsafeMutablePointer<z_stream>.allocate(capacity: 1)
        stream.initialize(to: z_stream())
        (stream.pointee.zalloc, stream.pointee.zfree) = (EncoderMemory.zlibTake, EncoderMemory.give)
        stream.pointee.opaque = memory.opaque
        // 16 more ask for gzip's head and checksum (RFC 1952).
        guard sl_deflate_init(stream, gzip.level, gzip.windowBits + 16, gzip.memoryLevel) == Z_OK else {
            stream.deinitialize(count: 1)
            stream.deallocate()
            return nil
        }
        return stream
    }

    deinit {
        withExtendedLifetime(memory) {
            switch engine {
            case .gzip(let stream):
                deflateEnd(stream)
                stream.deinitialize(count: 1)
                stream.deallocate()
            case .brotli(let state): BrotliEncoderDestroyInstance(state)
            }
        }
    }

    /// The bytes that the library holds for it now, and the most that it ever held.
    public var heldBytes: Int { memory.heldBytes }
    public var mostHeldBytes: Int { memory.mostBytes }

    /// Compresses `input` and appends to `out` all that a decoder needs to have it. With `isLast` the body is complete, and this was
    /// the last call. Give it something to say: each flush costs a few bytes.
    /// - Returns: false if the library has failed; what was appended is then worth nothing.
    public mutating func append(_ input: Span<UInt8>, isLast: Bool, into out: inout ByteQueue) -> Bool {
        switch engine {
        case .gzip(let stream): Self.deflate(stream, input, isLast: isLast, into: &out)
        case .brotli(let state): Self.encode(state, input, isLast: isLast, into: &out)
        }
    }

    // MARK: - gzip

    /// Bytes of output that are asked for at once. More than six, or a flush would be marked again and again.
    private static let portion = (least: 256, most: 16 << 10)
    /// zlib counts in 32 bits.
    private static let inputBytes = 1 << 30

    private static func deflate(
        _ stream: UnsafeMutablePointer<z_stream>, _ input: Span<UInt8>, isLast: Bool, into out: inout ByteQueue
    ) -> Bool {
        var offset = 0
        repeat {
            let end = min(input.count, offset + inputBytes)
            let flush = end < input.count ? Z_NO_FLUSH : isLast ? Z_FINISH : Z_SYNC_FLUSH
            guard deflate(stream, input.extracting(offset..<end), flush, into: &out) else { return false }
            offset = end
        } while offset < input.count
        return true
    }

    private static func deflate(
        _ stream: UnsafeMutablePointer<z_stream>, _ input: Span<UInt8>, _ flush: Int32, into out: inout ByteQueue
    ) -> Bool {
        input.withUnsafeBufferPointer { source in
            // zlib never writes to its input; the header of this version just does not say so.
            stream.pointee.next_in = UnsafeMutablePointer(mutating: source.baseAddress)
            stream.pointee.avail_in = UInt32(source.count)
            defer { (stream.pointee.next_in, stream.pointee.next_out) = (nil, nil) }
            var (code, isFull) = (Z_OK, true)
            while isFull, code == Z_OK {
                out.appendUninitialized(min(max(portion.least, source.count), portion.most)) { buffer in
                    stream.pointee.next_out = buffer.baseAddress
                    stream.pointee.avail_out = UInt32(buffer.count)
                    code = CZlib.deflate(stream, flush)
                    isFull = stream.pointee.avail_out == 0
                    return buffer.count - Int(stream.pointee.avail_out)
                }
            }
            // Z_BUF_ERROR: the room was full to the last byte, and there was nothing behind it.
            return flush == Z_FINISH ? code == Z_STREAM_END : code == Z_OK || code == Z_BUF_ERROR
        }
    }

    // MARK: - brotli

    private static func encode(
        _ state: OpaquePointer, _ input: Span<UInt8>, isLast: Bool, into out: inout ByteQueue
    ) -> Bool {
        input.withUnsafeBufferPointer { source in
            let operation = isLast ? BROTLI_OPERATION_FINISH : BROTLI_OPERATION_FLUSH
            var (next, rest, isDone) = (source.baseAddress, source.count, false)
            while !isDone {
                // No room is given: the output is taken out of the encoder's own storage.
                var room = 0
                guard BrotliEncoderCompressStream(state, operation, &rest, &next, &room, nil, nil) != 0 else {
                    return false
                }
                // While there was output, the last block may not have been looked at.
                isDone = rest == 0 && BrotliEncoderHasMoreOutput(state) == 0
                var count = 0
                if let start = BrotliEncoderTakeOutput(state, &count) {
                    out.append(UnsafeBufferPointer(start: start, count: count))
                }
            }
            return !isLast || BrotliEncoderIsFinished(state) != 0
        }
    }
}
