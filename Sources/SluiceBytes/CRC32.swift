/// CRC-32 as zlib, Ethernet and AWS event streams use it: IEEE 802.3's polynomial, reflected.
///
/// Eight bytes a step by eight tables ("slicing"), which is what a checksum over every frame of a stream can cost.
public struct CRC32: Equatable, Sendable {
    private var state: UInt32 = 0xFFFF_FFFF

    public init() {}

    /// The checksum of all bytes until now.
    public var value: UInt32 { ~state }

    public static func of(_ bytes: Span<UInt8>) -> UInt32 {
        var sum = CRC32()
        sum.update(bytes)
        return sum.value
    }

    public mutating func update(_ bytes: Span<UInt8>) {
        let start = state
        state = Self.tables.withUnsafeBufferPointer { tables in
            bytes.withUnsafeBytes { Self.run(start, $0, tables) }
        }
    }

    @inline(__always)
    private static func run(
        _ start: UInt32, _ bytes: UnsafeRawBufferPointer, _ tables: UnsafeBufferPointer<UInt32>
    ) -> UInt32 {
        /// The effect of one byte that `table` more bytes follow.
        func entry(_ table: Int, _ byte: UInt32) -> UInt32 { tables[table &* 256 &+ Int(byte & 0xFF)] }
        var crc = start
        var index = 0
        while index &+ 8 <= bytes.count {
            let low = UInt32(littleEndian: bytes.loadUnaligned(fromByteOffset: index, as: UInt32.self)) ^ crc
            let high = UInt32(littleEndian: bytes.loadUnaligned(fromByteOffset: index &+ 4, as: UInt32.self))
            let first = entry(7, low) ^ entry(6, low >> 8) ^ entry(5, low >> 16) ^ entry(4, low >> 24)
            let second = entry(3, high) ^ entry(2, high >> 8) ^ entry(1, high >> 16) ^ entry(0, high >> 24)
            crc = first ^ second
            index &+= 8
        }
        while index < bytes.count {
            crc = crc >> 8 ^ entry(0, crc ^ UInt32(bytes[index]))
            index &+= 1
        }
        return crc
    }

    private static let tables: [UInt32] = {
        var tables = [UInt32](repeating: 0, count: 8 * 256)
        for byte in 0..<256 {
            var crc = UInt32(byte)
            for _ in 0..<8 { crc = crc >> 1 ^ (crc & 1 == 1 ? 0xEDB8_8320 : 0) }
            tables[byte] = crc
        }
        for index in 256..<tables.count {
            let before = tables[index - 256]
            tables[index] = before >> 8 ^ tables[Int(before & 0xFF)]
        }
        return tables
    }()
}
