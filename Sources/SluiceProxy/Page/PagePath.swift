import SluiceHTTP

/// Where the page is, and what it asks. Paths are normalised.
enum PagePath {
    static let root = "/_sluice/"
    static let api = "/_sluice/api/"
    static let routes = "/_sluice/api/routes"
    static let live = "/_sluice/api/live"
    static let call = "/_sluice/api/call"

    /// In place of a route's in records; no route is called so.
    static let label = "(page)"

    static func contains(_ path: String) -> Bool { path.hasPrefix(root) || path == root.dropLast() }

    /// What only the page itself may ask.
    static func isOwn(_ path: String) -> Bool { path.hasPrefix(api) }

    static func isFile(_ path: String) -> Bool { contains(path) && !isOwn(path) }

    /// The file's name; nil for the root without its slash.
    static func file(_ path: String) -> String? {
        path.hasPrefix(root) ? String(path.dropFirst(root.count)) : nil
    }

    /// Browsers say where the page is from that makes a request.
    static func isFromBrowser(_ head: RequestHead) -> Bool {
        head.fields.contains("origin") || head.fields.first("sec-fetch-site").map { $0 != "none" } == true
    }

    /// The request is made by a page that came from the very address that it goes to.
    static func isFromPage(_ head: RequestHead) -> Bool {
        if let site = head.fields.first("sec-fetch-site"), site != "none", site != "same-origin" { return false }
        guard let origin = head.fields.first("origin") else { return true }
        let own = head.authority.lowercased()
        // A proxy before us may have ended TLS.
        return !own.isEmpty && ["http://" + own, "https://" + own].contains(origin.lowercased())
    }
}
