import SluiceConfig
import SluiceHTTP
import SluiceIO

/// Pages of others in a browser of this machine, where the environment's keys are served without a file: listening on the loopback
/// address keeps other machines out, but not what they send to the browser.
enum ForeignPage {
    /// Why a request is refused; nil: it is not. `isLocal`: it comes from this machine.
    ///
    /// A browser says whether the page is another site's (`Sec-Fetch-Site`, `Origin`). Of a page whose own name was made to mean
    /// this machine (DNS rebinding) it says nothing, but asks by that name.
    static func refusal(_ head: RequestHead, isLocal: Bool) -> String? {
        switch head.fields.first("sec-fetch-site") {
        case "same-origin"?, "none"?: break
        case "cross-site"?: return "a page of another site may not use this"
        case nil where !head.fields.contains("origin"): break
        default:
            // Of the same site are pages of every other port, whoever serves them.
            guard isOwnOrigin(head) else { return "a page of another origin may not use this" }
        }
        guard isLocal, !isTrustworthy(head.authority) else { return nil }
        return "ask as localhost or 127.0.0.1"
    }

    private static func isOwnOrigin(_ head: RequestHead) -> Bool {
        guard let origin = head.fields.first("origin") else { return false }
        let place = origin.split(separator: "/", omittingEmptySubsequences: true).last.map(String.init) ?? ""
        return place == head.authority.lowercased()
    }

    /// Whether browsers say where a page comes from when they ask by this authority: only those of the loopback interface are
    /// trustworthy without TLS (Secure Contexts §3.1). `0.0.0.0`, `[::ffff:127.0.0.1]` and the machine's other addresses lead here
    /// too, and an image of a foreign page that is asked for by them looks like a request of a program.
    static func isTrustworthy(_ authority: String) -> Bool {
        var (name, port) = (Substring(authority), Substring())
        if let colon = name.lastIndex(of: ":"), !name.hasSuffix("]") {
            (name, port) = (name[..<colon], name[name.index(after: colon)...])
        }
        guard port.utf8.allSatisfy({ (0x30...0x39).contains($0) }) else { return false }
        if name == "[::1]" || name.lowercased() == "localhost" { return true }
        guard case .v4(let address)? = IPAddress(String(name)) else { return false }
        return address >> 24 == 127
    }

    /// `local`: the socket's own address; nil where nobody knows it. Who asks by an address of this machine has it for its own too.
    /// A listener on `[::]` sees IPv4 as `::ffff:127.0.0.1`.
    static func isThisMachine(peer: IPAddress, local: IPAddress?) -> Bool {
        let peer = peer.unmapped
        if case .v4(let address) = peer, address >> 24 == 127 { return true }
        return peer == .v6(0, 1) || peer == local?.unmapped
    }
}

extension Exchange {
    /// True: the client has got its 403.
    func refusesForeignPage() -> Bool {
        guard worker.snapshot.configuration.keepsForeignPagesOut,
            let why = ForeignPage.refusal(head, isLocal: isFromThisMachine)
        else { return false }
        worker.metrics.forbidden += 1
        fail(ProxyError(.forbidden, .client, why))
        return true
    }

    private var isFromThisMachine: Bool {
        guard let connection = client.peerConnection, case .ip(let peer, _) = connection.peer else { return false }
        var local: IPAddress?
        if case .ip(let address, _)? = connection.localAddress { local = address }
        return ForeignPage.isThisMachine(peer: peer, local: local)
    }
}
