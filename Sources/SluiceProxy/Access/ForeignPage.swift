import SluiceConfig
import SluiceHTTP

/// Pages of others in a browser of this machine, where the environment's keys are served without a file: listening on the loopback
/// address keeps other machines out, but not what they send to the browser.
enum ForeignPage {
    /// Why a request is refused; nil: it is not. `isLocal`: it comes from this machine.
    ///
    /// A browser says whether the page is another site's (`Sec-Fetch-Site`, `Origin`). Of a page whose own name was made to mean
    /// this machine (DNS rebinding) it says nothing, but asks by that name.
    static func refusal(_ head: RequestHead, isLocal: Bool) -> String? {
        let site = head.fields.first("sec-fetch-site")
        if site == "cross-site" { return "a page of another site may not use this" }
        if site == nil, let origin = head.fields.first("origin") {
            let place = origin.split(separator: "/", omittingEmptySubsequences: true).last.map(String.init) ?? ""
            if place != head.authority.lowercased() { return "a page of another origin may not use this" }
        }
        guard isLocal, !AdminRouter.isNumericOrLocal(head.authority) else { return nil }
        return "ask by address or as localhost"
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
        guard let text = client.peerConnection?.peer.addressText else { return false }
        return text == "::1" || text.hasPrefix("127.")
    }
}
