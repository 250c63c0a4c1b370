import COpenSSL
import SluiceBytes

/// OpenSSL has no SHA-256 to give: no memory, or a provider that does not offer it.
public struct DigestError: Error, Sendable {}

/// SHA-256 (FIPS 180-4) and its HMAC (RFC 2104), by OpenSSL.
public enum Digest {
    public static let sha256Count = 32

    public static func sha256(_ bytes: Span<UInt8>) throws(DigestError) -> [UInt8] {
        try make { out, count in
            bytes.withUnsafeBytes { EVP_Digest($0.baseAddress, $0.count, out, count, EVP_sha256(), nil) == 1 }
        }
    }

    public static func hmacSHA256(key: Span<UInt8>, _ bytes: Span<UInt8>) throws(DigestError) -> [UInt8] {
        try make { out, count in
            key.withUnsafeBytes { key in
                bytes.withUnsafeBufferPointer { bytes in
                    HMAC(
                        EVP_sha256(), key.baseAddress, Int32(clamping: key.count), bytes.baseAddress, bytes.count, out,
                        count) != nil
                }
            }
        }
    }

    /// In lower case.
    public static func hex(_ bytes: [UInt8]) -> String {
        let digits = Array("0123456789abcdef".utf8)
        return String(decoding: bytes.flatMap { [digits[Int($0 >> 4)], digits[Int($0 & 15)]] }, as: UTF8.self)
    }

    /// Whether two values are the same, in a time that depends on their length alone.
    public static func isEqual(_ left: [UInt8], _ right: [UInt8]) -> Bool {
        guard left.count == right.count else { return false }
        return left.withUnsafeBytes { left in
            right.withUnsafeBytes { CRYPTO_memcmp(left.baseAddress, $0.baseAddress, left.count) == 0 }
        }
    }

    private static func make(
        _ body: (UnsafeMutablePointer<UInt8>?, UnsafeMutablePointer<UInt32>) -> Bool
    ) throws(DigestError) -> [UInt8] {
        let digest = [UInt8](unsafeUninitializedCapacity: sha256Count) { buffer, count in
            var written: UInt32 = 0
            count = body(buffer.baseAddress, &written) && written == sha256Count ? sha256Count : 0
        }
        guard digest.count == sha256Count else { throw DigestError() }
        return digest
    }
}
