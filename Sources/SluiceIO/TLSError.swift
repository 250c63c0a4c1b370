import COpenSSL
import Glibc
import SluiceBytes

/// What can go wrong with TLS, in words a person can act on. A session that threw is finished.
public enum TLSError: Error, Equatable, Sendable, CustomStringConvertible {
    /// A file or option that no context can be built from; names the file.
    case configuration(String)
    /// No session came about: OpenSSL's reason and, if a certificate was refused, why.
    case handshake(String)
    /// The peer broke an established session with an alert, such as TLS 1.3's late refusal of a client certificate.
    case alert(String)
    /// The peer sent, in an established session, what is no valid record or message.
    case protocolViolation(String)
    /// The peer closed the connection without close_notify, so what arrived may not be all of it.
    case truncated
    /// Too many bytes waited for the handshake.
    case limit(Limit)

    public var description: String {
        switch self {
        case .configuration(let text): "TLS configuration: \(text)"
        case .handshake(let text): "TLS handshake failed: \(text)"
        case .alert(let text): "TLS session ended by the peer: \(text)"
        case .protocolViolation(let text): "TLS session broken: \(text)"
        case .truncated: "TLS session cut off without close_notify"
        case .limit(let limit): "TLS: \(limit)"
        }
    }

    /// The first entry of this thread's error queue, which is the root of the others; empties the queue.
    static func takeReason(_ fallback: String = "unknown error") -> (text: String, isAlert: Bool) {
        let code = ERR_get_error()
        ERR_clear_error()
        guard code != 0 else { return (fallback, false) }
        let reason = ERR_GET_REASON(code)
        if let text = ERR_reason_error_string(code) {
            // Reasons of the SSL library from 1000 up are alerts that the peer sent (SSL_AD_REASON_OFFSET).
            return (String(cString: text), ERR_GET_LIB(code) == ERR_LIB_SSL && reason >= SSL_AD_REASON_OFFSET)
        }
        if ERR_GET_LIB(code) == 2 { return (String(cString: strerror(reason)), false) }  // ERR_LIB_SYS: errno
        return ("OpenSSL error \(code)", false)
    }
}
