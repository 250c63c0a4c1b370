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

    /// Empties this thread's error queue into one reason: that of the SSL library, which speaks of the protocol, or else
    /// the first entry, which is the root of the others.
    static func takeReason(_ fallback: String = "unknown error") -> (text: String, isAlert: Bool) {
        var reason: UInt = 0
        while true {
            let code = ERR_get_error()
            guard code != 0 else { break }
            if reason == 0 || ERR_GET_LIB(code) == ERR_LIB_SSL { reason = code }
        }
        guard reason != 0 else { return (fallback, false) }
        if ERR_GET_LIB(reason) == ERR_LIB_SYS { return (String(cString: strerror(ERR_GET_REASON(reason))), false) }
        guard let text = ERR_reason_error_string(reason) else { return ("OpenSSL error \(reason)", false) }
        // Reasons of the SSL library from 1000 up are alerts that the peer sent.
        let isAlert = ERR_GET_LIB(reason) == ERR_LIB_SSL && ERR_GET_REASON(reason) >= SSL_AD_REASON_OFFSET
        return (String(cString: text), isAlert)
    }
}
