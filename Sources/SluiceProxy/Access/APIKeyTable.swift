import SluiceConfig
import SluiceIO

/// The keys of one key file, by their hashes.
///
/// What a look-up takes tells nothing: entries are found by a byte of the hash of what the client sent, which it cannot choose
/// to be near that of a key, and all that share it are compared, each in constant time and to the last.
struct APIKeyTable: Sendable {
    enum Answer: Equatable {
        case unknown
        case expired(name: String)
        case known(APIKeySpec)
    }
    private let slots: [[APIKeySpec]]

    /// A key is short; what is longer is no key of ours and is not hashed.
    static let keyBytes = 4096

    init(_ keys: [APIKeySpec]) {
        var slots = [[APIKeySpec]](repeating: [], count: 256)
        for key in keys where key.hash.count == Digest.sha256Count { slots[Int(key.hash[0])].append(key) }
        self.slots = slots
    }

    /// `time`: seconds since 1970.
    func look(up key: [UInt8], at time: Int) -> Answer {
        guard !key.isEmpty, key.count <= Self.keyBytes, let hash = try? Digest.sha256(key.span) else { return .unknown }
        var found: APIKeySpec?
        for entry in slots[Int(hash[0])] where Digest.isEqual(entry.hash, hash) { found = entry }
        guard let found else { return .unknown }
        if let expires = found.expires, time >= expires { return .expired(name: found.name) }
        return .known(found)
    }
}
