import CZlib
import SluiceBytes

/// Compressed body bytes in, plain ones out, as they come: what a piece of input says is handed out with that piece.
///
/// Pure: no socket, no clock. It holds zlib's window of 32 KiB and nothing else: the caller says how many bytes it wants at
/// once, however much a piece of input stands for.
public struct Inflater: ~Copyable {
    /// What the input is not.
    public struct Failure: Error, Equatable, Sendable, CustomStringConvertible {
        public let description: String
    }

    private enum State { case start, deflateStart(UInt8), inside, between, failed }

    private let coding: ContentCoding
    /// In place for its whole life: zlib checks that it was not moved.
    private let stream: UnsafeMutablePointer<z_stream>
    private var state = State.start
    private var isInitialized = false
    /// zlib filled all the room it had, so it may hold more, whether or not more input comes.
    private var mayHoldMore = false

    public init(_ coding: ContentCoding) {
        self.coding = coding
        stream = .allocate(capacity: 1)
        stream.initialize(to: z_stream())
    }

    deinit {
        if isInitialized { inflateEnd(stream) }
        stream.deinitialize(count: 1)
        stream.deallocate()
    }

    /// The input may end here: nothing came at all, or the last member is whole, its checksum included.
    public var isComplete: Bool {
        switch state {
        case .start, .between: !mayHoldMore
        case .deflateStart, .inside, .failed: false
        }
    }

    /// Inflates `input` from `offset` on, appends at most `limit` bytes to `out`, and advances `offset` past what it took.
    /// Returns whether there is more to be had before further input: call again until it returns false.
    /// - Throws: what is not valid; what came before it has been appended.
    public mutating func next(
        _ input: Span<UInt8>, at offset: inout Int, limit: Int, into out: inout ByteQueue
    ) throws(Failure) -> Bool {
        var room = limit
        do throws(Failure) {
            while room > 0, offset < input.count || mayHoldMore {
                guard try enterMember(input, at: &offset) else { continue }
                try step(input, at: &offset, room: &room, into: &out)
            }
        } catch {
            state = .failed
            throw error
        }
        return offset < input.count || mayHoldMore
    }

    /// Makes sure that zlib is ready for the byte at `offset`. False if that byte needed nothing of zlib.
    private mutating func enterMember(_ input: Span<UInt8>, at offset: inout Int) throws(Failure) -> Bool {
        switch state {
        case .inside: return true
        case .failed: throw Failure(description: "bytes behind a fault")
        case .start where coding == .deflate:
            state = .deflateStart(input[offset])
            offset += 1
            return false
        case .start:
            try begin(windowBits: 15 + 16)
            return true
        case .deflateStart(let first):
            // RFC 1950 §2.2: method 8, and a checksum over both bytes. Anything else is DEFLATE without a wrapper.
            let isZlib = first & 15 == 8 && (Int(first) << 8 | Int(input[offset])) % 31 == 0
            try begin(windowBits: isZlib ? 15 : -15)
            try feedFirst(first)
            return true
        case .between:
            // Members follow each other (RFC 1952 §2.2); zeros behind the last one are padding.
            if input[offset] == 0 {
                offset += 1
                return false
            }
            guard coding == .gzip, input[offset] == 0x1F else { throw Failure(description: "bytes behind the end") }
            guard inflateReset(stream) == Z_OK else { throw Failure(description: "out of memory") }
            state = .inside
            return true
        }
    }

    private mutating func begin(windowBits: Int32) throws(Failure) {
        guard sl_inflate_init(stream, windowBits) == Z_OK else { throw Failure(description: "out of memory") }
        isInitialized = true
        state = .inside
    }

    /// The byte that was held back while the format was not known: no output can come of it alone.
    private mutating func feedFirst(_ byte: UInt8) throws(Failure) {
        var byte = byte
        let code = withUnsafeMutablePointer(to: &byte) { pointer in
            (stream.pointee.next_in, stream.pointee.avail_in) = (pointer, 1)
            (stream.pointee.next_out, stream.pointee.avail_out) = (pointer, 0)
            let code = inflate(stream, Z_SYNC_FLUSH)
            (stream.pointee.next_in, stream.pointee.next_out) = (nil, nil)
            return code
        }
        guard code == Z_OK || code == Z_BUF_ERROR, stream.pointee.avail_in == 0 else {
            throw Failure(description: "not DEFLATE")
        }
    }

    /// One call of zlib's.
    private mutating func step(
        _ input: Span<UInt8>, at offset: inout Int, room: inout Int, into out: inout ByteQueue
    ) throws(Failure) {
        let rest = input.extracting(offset..<input.count)
        let size = min(room, Self.portion)
        var (code, taken, made): (Int32, Int, Int) = (Z_OK, 0, 0)
        let stream = stream
        out.appendUninitialized(size) { buffer in
            rest.withUnsafeBufferPointer { source in
                // zlib never writes to its input; the header of this version just does not say so.
                stream.pointee.next_in = UnsafeMutablePointer(mutating: source.baseAddress)
                stream.pointee.avail_in = UInt32(clamping: source.count)
                stream.pointee.next_out = buffer.baseAddress
                stream.pointee.avail_out = UInt32(clamping: buffer.count)
                let (input, output) = (stream.pointee.avail_in, stream.pointee.avail_out)
                code = inflate(stream, Z_SYNC_FLUSH)
                (taken, made) = (Int(input - stream.pointee.avail_in), Int(output - stream.pointee.avail_out))
                (stream.pointee.next_in, stream.pointee.next_out) = (nil, nil)
            }
            return made
        }
        offset += taken
        room -= made
        mayHoldMore = made == size
        switch code {
        case Z_STREAM_END: (state, mayHoldMore) = (.between, false)
        // No progress was possible: all that can be said has been, unless zlib is stuck.
        case Z_BUF_ERROR:
            mayHoldMore = false
            if offset < input.count { throw Failure(description: "zlib takes no input") }
        case Z_OK: break
        default: throw Failure(description: Self.reason(code, stream.pointee.msg))
        }
    }

    private static let portion = 16 << 10

    private static func reason(_ code: Int32, _ message: UnsafeMutablePointer<CChar>?) -> String {
        if let message { return String(cString: message) }
        return code == Z_NEED_DICT ? "a preset dictionary" : "zlib's error \(code)"
    }
}
