import SluiceBytes
import SluiceHTTP
import SluiceIO
import SluicePage

/// The files of the page as answers. They hold nothing that is not in the source tree, so anybody may have them.
enum PageFiles {
    /// Nothing but the page's own files is loaded or run, nothing but its own origin asked, and nobody may frame it.
    static let policy = """
        default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; base-uri 'none'; \
        form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'
        """

    /// Of a route's answer that is passed on: whatever it holds, a browser shows and runs none of it.
    static let relayFields = [
        ("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'; sandbox"),
        ("Cross-Origin-Resource-Policy", "same-origin"),
    ]

    private static let fields = [
        ("Content-Security-Policy", policy), ("Referrer-Policy", "no-referrer"),
        ("Cross-Origin-Opener-Policy", "same-origin"), ("Cross-Origin-Resource-Policy", "same-origin"),
    ]

    private struct File {
        let asset: PageAsset
        let tag: String
    }

    private static let files: [String: File] = Dictionary(
        PageAssets.all.map { asset in
            let digest = (try? Digest.sha256(asset.bytes.span)) ?? []
            return (asset.name, File(asset: asset, tag: "\"" + Digest.hex(Array(digest.prefix(12))) + "\""))
        }, uniquingKeysWith: { first, _ in first })

    /// `name`: behind `/_sluice/`; nil: the slash is missing, without which the page would not find its files.
    static func reply(_ name: String?, to head: RequestHead) -> AdminReply {
        guard let name else {
            var reply = AdminReply(status: 308)
            reply.fields = [("Location", PagePath.root)]
            return reply
        }
        guard let file = files[name] else { return .message(404, "the page has no such file") }
        var reply = AdminReply(contentType: file.asset.contentType, cacheControl: "no-cache")
        reply.fields = fields + [("ETag", file.tag)]
        if matches(head.fields.first("if-none-match"), file.tag) {
            reply.status = 304
        } else {
            reply.body = file.asset.bytes
        }
        return reply
    }

    private static func matches(_ condition: String?, _ tag: String) -> Bool {
        (condition ?? "").split(separator: ",").contains { one in
            let trimmed = one.drop { $0 == " " }
            return trimmed == tag || trimmed == "W/" + tag
        }
    }
}
