import COpenSSL
import SluiceBytes

/// SHA-256 (FIPS 180-4) and its HMAC (RFC 2104), by OpenSSL.
public enum Digest {
    public static let sha256Count = 32

    public static func sha256(_ bytes: Span<UInt8>) -> [UInt8] {
        bytes.withUnsafeBytes { bytes in
            make { EVP_Digest(bytes.baseAddress, bytes.count, $0, $1, EVP_sha256(), nil) == 1 }
        }
    }

    public static func hmacSHA256(key: Span<UInt8>, _ bytes: Span<UInt8>) -> [UInt8] {
        key.withUnsafeBytes { key in
            bytes.withUnsafeBufferPointer { bytes in
                make {
                    HMAC(EVP_sha256(), key.baseAddress, Int32(key.count), bytes.baseAddress, bytes.count, $0, $1) != nil
                }
            }
        }
    }

    /// In lower case.
    public static func hex(_ bytes: [UInt8]) -> String {
        let digits = Array("0123456789abcdef".utf8)
        return String(decoding: bytes.flatMap { [digits[Int($0 >> 4)], digits[Int($0 & 15)]] }, as: UTF8.self)
    }

    private static func make(
        _ body: (UnsafeMutablePointer<UInt8>?, UnsafeMutablePointer<UInt32>) -> Bool
    ) -> [UInt8] {
        [UInt8](unsafeUninitializedCapacity: sha256Count) { buffer, count in
            var written: UInt32 = 0
            guard body(buffer.baseAddress, &written), written == sha256Count else {
                fatalError("OpenSSL has no memory or no SHA-256")
            }
            count = sha256Count
        }
    }
}
