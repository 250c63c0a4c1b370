/// Frames of Amazon's event stream: lengths and checksums around headers and a payload, all numbers big-endian.
enum AWSFrame {
    /// A frame as Bedrock sends its events.
    static func event(_ type: String, _ payload: [UInt8]) -> [UInt8] {
        var headers: [UInt8] = []
        for (name, value) in [
            (":event-type", type), (":content-type", "application/json"), (":message-type", "event"),
        ] {
            headers.append(UInt8(truncatingIfNeeded: name.utf8.count))
            headers += name.utf8
            // 7 is a string.
            headers += [
                7, UInt8(truncatingIfNeeded: value.utf8.count >> 8), UInt8(truncatingIfNeeded: value.utf8.count),
            ]
            headers += value.utf8
        }
        var frame = number(UInt32(truncatingIfNeeded: headers.count + payload.count + 16))
        frame += number(UInt32(truncatingIfNeeded: headers.count))
        frame += number(crc32(frame))
        frame += headers
        frame += payload
        return frame + number(crc32(frame))
    }

    private static func number(_ value: UInt32) -> [UInt8] {
        [24, 16, 8, 0].map { UInt8(truncatingIfNeeded: value >> $0) }
    }

    /// The checksum of zlib and Ethernet (ISO 3309): the polynomial 0x04C11DB7, bits in reverse.
    static func crc32(_ bytes: [UInt8]) -> UInt32 {
        var sum: UInt32 = .max
        for byte in bytes {
            sum ^= UInt32(byte)
            for _ in 0..<8 { sum = sum & 1 == 0 ? sum >> 1 : sum >> 1 ^ 0xEDB8_8320 }
        }
        return ~sum
    }

    /// RFC 4648 §4.
    static func base64(_ bytes: some Sequence<UInt8>) -> [UInt8] {
        let alphabet = Array("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/".utf8)
        var out: [UInt8] = []
        var (bits, count): (UInt32, Int) = (0, 0)
        for byte in bytes {
            (bits, count) = (bits << 8 | UInt32(byte), count + 8)
            while count >= 6 {
                count -= 6
                out.append(alphabet[Int(bits >> UInt32(count) & 63)])
            }
            bits &= 63
        }
        if count > 0 { out.append(alphabet[Int(bits << UInt32(6 - count) & 63)]) }
        while out.count % 4 != 0 { out.append(UInt8(ascii: "=")) }
        return out
    }
}
