import SluiceBytes
import SluiceHTTP
import SluiceIO

/// What the demo's page asks on the listener of clients. Another thread puts most answers together; they come back by mailbox.
extension Exchange {
    /// Call once, when the head is there. What body there is, is read past.
    func answerPage() {
        isPage = true
        record.route = PagePath.label
        guard let desk = worker.shared.pageDesk.withLock({ $0 }) else {
            return finishPage(.message(503, "the page is not there yet"))
        }
        let (head, serial, mailbox, isTrusted) = (head, serial, worker.loop.mailbox, isTrustedWithDemo)
        desk.post { loop in
            guard let admin = loop.owner as? AdminServer else { return }
            admin.answer(head, isTrusted: isTrusted) { reply in
                mailbox.post { loop in
                    let live = (loop.owner as? Worker)?.live
                    live?.first { $0.serial == serial && $0.isPage }?.finishPage(reply)
                }
            }
        }
    }

    /// A demo listens for everybody; who sits at this machine may do more than look. A page of somebody else that made its own name
    /// resolve to this machine still asks by that name.
    private var isTrustedWithDemo: Bool {
        guard let peer = client.peerConnection?.peer, AdminRouter.isNumericOrLocal(head.authority) else { return false }
        // Who came through a proxy is somebody else.
        if head.fields.contains("x-forwarded-for") || head.fields.contains("forwarded") { return false }
        switch peer.addressText {
        case "::1", "unix": return true
        case let text: return text.hasPrefix("127.")
        }
    }

    private func finishPage(_ reply: AdminReply) {
        guard phase != .over, !isCommitted else { return }
        var answer = reply.head
        answer.fields.append("X-Request-Id", record.requestID)
        isCommitted = true
        record.status = answer.status
        let hasBody = head.method != "HEAD" && answer.status != 304
        client.sendHead(answer, length: answer.status == 304 ? .none : .fixed(reply.body.count))
        openBody()
        if hasBody { worker.scratch.append(reply.body) }
        flushBody(isLast: true)
        end("page")
    }
}
