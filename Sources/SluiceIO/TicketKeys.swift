import COpenSSL
import Glibc
import SluiceBytes
import Synchronization

/// The keys that a listener seals its session tickets with. Whoever gets hold of one can read the sessions that were
/// resumed by its tickets, so a key is random, lives in memory only, seals for a few hours and is then forgotten.
///
/// All loops share it, so it stands under a lock; it is touched once or twice a handshake.
final class TicketKeys: Sendable {
    /// Random bytes: a name that stands in the ticket in the clear, a key for AES-256 and one for HMAC-SHA-256.
    struct Key: Sendable {
        let name: [UInt8]
        let cipher: [UInt8]
        let mac: [UInt8]

        init?() {
            guard let name = Self.random(16), let cipher = Self.random(32), let mac = Self.random(32) else {
                return nil
            }
            (self.name, self.cipher, self.mac) = (name, cipher, mac)
        }

        static func random(_ count: Int) -> [UInt8]? {
            var bytes = [UInt8](repeating: 0, count: count)
            return RAND_priv_bytes(&bytes, Int32(count)) == 1 ? bytes : nil
        }
    }

    private struct State {
        var current: Key
        var previous: Key?
        var replaceAt: Instant
    }
    private let state: Mutex<State>

    /// How long a key seals. It opens for as long again, which is longer than a ticket lives (2 h).
    static let period = Interval.seconds(4 * 3600)

    /// - Returns: nil without randomness.
    init?(now: Instant) {
        guard let key = Key() else { return nil }
        state = Mutex(State(current: key, previous: nil, replaceAt: now + Self.period))
    }

    /// The key that seals now.
    func current(now: Instant) -> Key {
        state.withLock { state in
            Self.rotate(&state, now)
            return state.current
        }
    }

    /// The key of that name, and whether it has been replaced; nil if it is unknown or forgotten.
    func key(named name: UnsafeBufferPointer<UInt8>, now: Instant) -> (key: Key, isReplaced: Bool)? {
        state.withLock { state in
            Self.rotate(&state, now)
            if name.elementsEqual(state.current.name) { return (state.current, false) }
            guard let previous = state.previous, name.elementsEqual(previous.name) else { return nil }
            return (previous, true)
        }
    }

    /// Without randomness the old key stays, and the next handshake tries again.
    private static func rotate(_ state: inout State, _ now: Instant) {
        guard now >= state.replaceAt, let fresh = Key() else { return }
        // After a quiet time the current key may be too old even to open.
        state.previous = now >= state.replaceAt + period ? nil : state.current
        state.current = fresh
        state.replaceAt = now + period
    }
}

extension TicketKeys {
    /// Makes `context` seal and open tickets with the keys of its `TLSContext`.
    static func install(on context: OpaquePointer) {
        SSL_CTX_set_tlsext_ticket_key_evp_cb(context) { ssl, name, vector, cipher, mac, isSealing in
            guard let keys = TLSEngine.from(ssl)?.ticketKeys, let name, let vector else { return -1 }
            let now = EventLoop.clock()
            if isSealing == 1 { return keys.seal(name, vector, cipher, mac, now) }
            let opened = keys.open(name, vector, cipher, mac, now)
            // A TLS 1.3 client uses a ticket once, so it needs another in return.
            return opened == 1 && SSL_version(ssl) == TLS1_3_VERSION ? 2 : opened
        }
    }

    /// The answers are OpenSSL's: 1 goes on, 2 also asks for a new ticket, 0 means a full handshake, -1 a failure.
    private func seal(
        _ name: UnsafeMutablePointer<UInt8>, _ vector: UnsafeMutablePointer<UInt8>, _ cipher: OpaquePointer?,
        _ mac: OpaquePointer?, _ now: Instant
    ) -> Int32 {
        let key = current(now: now)
        name.update(from: key.name, count: key.name.count)
        guard RAND_bytes(vector, 16) == 1,
            EVP_EncryptInit_ex(cipher, EVP_aes_256_cbc(), nil, key.cipher, vector) == 1,
            sl_EVP_MAC_set_sha256(mac, key.mac, key.mac.count) == 1
        else { return -1 }
        return 1
    }

    private func open(
        _ name: UnsafeMutablePointer<UInt8>, _ vector: UnsafeMutablePointer<UInt8>, _ cipher: OpaquePointer?,
        _ mac: OpaquePointer?, _ now: Instant
    ) -> Int32 {
        guard let (key, isReplaced) = key(named: UnsafeBufferPointer(start: name, count: 16), now: now) else {
            return 0
        }
        guard EVP_DecryptInit_ex(cipher, EVP_aes_256_cbc(), nil, key.cipher, vector) == 1,
            sl_EVP_MAC_set_sha256(mac, key.mac, key.mac.count) == 1
        else { return -1 }
        return isReplaced ? 2 : 1
    }
}
