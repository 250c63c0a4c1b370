/// Why Redis cannot be used, or what it says against a command.
struct RedisFailure: Error, Sendable, Equatable, CustomStringConvertible {
    enum Kind: String, Sendable, CaseIterable {
        /// No address, no socket, no TLS, or not in time.
        case connect
        /// A reply did not come in time.
        case timeout
        /// The connection was closed or reset.
        case closed
        /// What it said is no RESP.
        case malformed
        case outOfMemory = "out_of_memory"
        /// A replica, or a server that cannot write its disk.
        case readOnly = "read_only"
        /// It reads its data set, or runs a script for too long.
        case loading
        /// The password is wrong or missing, or the user may not do this.
        case unauthorized
        /// It is a cluster, and another of its nodes is to be asked.
        case moved
        case other
    }
    var kind: Kind
    var text: String

    init(_ kind: Kind, _ text: String) { (self.kind, self.text) = (kind, text) }

    /// An error reply, by its first word.
    init(reply text: String) {
        let kind: Kind =
            switch text.prefix(while: { $0 != " " }) {
            case "OOM": .outOfMemory
            case "READONLY", "MISCONF", "NOREPLICAS": .readOnly
            case "LOADING", "BUSY", "MASTERDOWN", "CLUSTERDOWN", "TRYAGAIN": .loading
            case "NOAUTH", "WRONGPASS", "NOPERM": .unauthorized
            case "MOVED", "ASK", "CROSSSLOT": .moved
            default: .other
            }
        // A server may repeat what it was sent.
        self.init(kind, String(text.prefix(200)))
    }

    /// Whatever is asked next will most likely fail as well.
    var isLasting: Bool { kind != .other }

    var description: String { text }
}
