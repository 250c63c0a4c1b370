import COpenSSL
import Glibc
import SluiceBytes

/// What the peer's certificate says, whether it is trusted or not: for words, never for a decision.
public struct TLSPeerFacts: Sendable, Equatable {
    public let subject: String
    public let issuer: String
    /// Until it expires; negative afterwards.
    public let daysLeft: Int
    /// `TLSv1.2` or `TLSv1.3`.
    public let version: String
}

extension TLSEngine {
    /// nil before the handshake is complete, and of a peer that showed none.
    public var peerFacts: TLSPeerFacts? {
        guard isHandshakeComplete, let certificate = SSL_get0_peer_certificate(ssl) else { return nil }
        var (days, seconds) = (Int32(0), Int32(0))
        _ = ASN1_TIME_diff(&days, &seconds, nil, X509_get0_notAfter(certificate))
        return TLSPeerFacts(
            subject: Self.text(X509_get_subject_name(certificate)),
            issuer: Self.text(X509_get_issuer_name(certificate)),
            daysLeft: Int(days), version: protocolVersion)
    }

    /// In the form of RFC 4514.
    private static func text(_ name: OpaquePointer?) -> String {
        guard let name, let memory = BIO_new(BIO_s_mem()) else { return "" }
        defer { BIO_free(memory) }
        guard X509_NAME_print_ex(memory, name, 0, SL_NAME_RFC2253) >= 0 else { return "" }
        var text: UnsafeMutablePointer<CChar>?
        let count = sl_BIO_get_mem_data(memory, &text)
        guard let text, count > 0 else { return "" }
        return String(decoding: UnsafeRawBufferPointer(start: text, count: count), as: UTF8.self)
    }
}

extension Connection {
    public var peerFacts: TLSPeerFacts? { engine?.peerFacts }

    /// Our end of the socket; nil once it is closed.
    public var localAddress: SocketAddress? {
        guard isOpen else { return nil }
        var storage = sockaddr_storage()
        var length = socklen_t(MemoryLayout<sockaddr_storage>.size)
        let result = withUnsafeMutablePointer(to: &storage) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { getsockname(descriptor, $0, &length) }
        }
        return result == 0 ? SocketAddress(storage) : nil
    }
}
