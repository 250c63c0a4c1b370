import SluiceBytes
import SluiceConfig
import SluiceHTTP
import SluiceStreams

/// What an operator can ask for.
enum AdminAction: Equatable {
    case index, live, ready, metrics, configuration
    case streams(limit: Int)
    case cancel(worker: Int, serial: Int)
    case drain, reload
    case level
    case setLevel(LogSpec.Level)
    /// A file of the page, by its name behind `/_sluice/`; nil: the browser is sent to it.
    case page(file: String?)
    /// What the page asks for: routes to play with, what happens now, a request to one of the routes.
    case pageRoutes, pageLive, pageCall
}

/// Why an operator's request is refused.
struct AdminRefusal: Error, Equatable {
    let status: Int
    let message: String
    var allow: String?
}

/// Who may ask what on the admin listener, and what a request asks for. Pure.
struct AdminRouter {
    /// Asked of all but health checks, which orchestrators make without one.
    let token: Secret?
    /// The listener is reached over TCP without a token: then a page in somebody's browser must not get through to it. Such a page
    /// can make its own name resolve to this machine (DNS rebinding), but its requests still carry that name.
    let checksHost: Bool
    /// Others than this machine reach the listener and there is no token: health checks and what is exposed are all it serves,
    /// whoever asks. A proxy or a port-forward makes strangers come from this machine, so its own address proves nothing here.
    let servesExposedOnly: Bool
    /// Asked of nobody a token for.
    let expose: [AdminSpec.Endpoint]
    /// It serves the page, and nothing else, on the listener of clients.
    let isDemo: Bool

    static let streamsLimit = 1000

    init(_ spec: AdminSpec) {
        token = spec.token
        servesExposedOnly = spec.token == nil && !spec.isLocal
        // What is exposed is for everybody who reaches it, by whatever name.
        checksHost = spec.token == nil && spec.isLocal && !spec.address.hasPrefix("unix:")
        expose = spec.expose ?? []
        isDemo = false
    }

    /// For the demo: anybody may look, and there is no token.
    init() { (token, checksHost, servesExposedOnly, expose, isDemo) = (nil, false, false, [], true) }

    func action(for head: RequestHead) throws(AdminRefusal) -> AdminAction {
        let target = RequestTarget(head.target)
        let path = target.normalizedPath ?? ""
        if servesExposedOnly, !isOpen(path) {
            throw AdminRefusal(status: 403, message: "not without an admin token, and this listener has none")
        }
        if PagePath.isFile(path) {
            // The same for everybody, so it matters to nobody who asks; but what is no name of ours shows nothing here.
            try checkHost(head)
            return try reading(.page(file: PagePath.file(path)), head.method)
        }
        // A browser says where a page comes from that it asks for; no tool of an operator does.
        if !PagePath.isOwn(path) || !PagePath.isFromPage(head), PagePath.isFromBrowser(head) {
            throw AdminRefusal(status: 403, message: "pages of other sites may not ask here")
        }
        try checkHost(head)
        if isDemo { return try demoAction(path, head.method) }
        if !isOpen(path), let token, !Self.carries(token, head) {
            throw AdminRefusal(status: 401, message: "needs the admin token as Authorization: Bearer TOKEN")
        }
        return try action(path, head.method, target)
    }

    /// Needs no token.
    private func isOpen(_ path: String) -> Bool {
        path == "/livez" || path == "/readyz" || path == "/metrics" && expose.contains(.metrics)
    }

    private func checkHost(_ head: RequestHead) throws(AdminRefusal) {
        guard checksHost, !Self.isNumericOrLocal(head.authority) else { return }
        throw AdminRefusal(status: 403, message: "ask by address or as localhost")
    }

    private func action(
        _ path: String, _ method: String, _ target: RequestTarget
    ) throws(AdminRefusal) -> AdminAction {
        switch path {
        case "/": return try reading(.index, method)
        case "/livez": return try reading(.live, method)
        case "/readyz": return try reading(.ready, method)
        case "/metrics": return try reading(.metrics, method)
        case "/config": return try reading(.configuration, method)
        case "/streams": return try reading(.streams(limit: try Self.limit(target)), method)
        case "/drain": return try changing(.drain, method)
        case "/reload": return try changing(.reload, method)
        case "/logging":
            guard method == "POST" else { return try reading(.level, method, allow: "GET, HEAD, POST") }
            let names = LogSpec.Level.allCases.map(\.rawValue)
            guard let level = target.value(named: "level").flatMap({ LogSpec.Level(rawValue: $0) }) else {
                throw AdminRefusal(status: 400, message: "needs ?level= and one of \(names.joined(separator: ", "))")
            }
            return .setLevel(level)
        default:
            if let action = try pageAction(path, method) { return action }
            guard let stream = Self.stream(path) else {
                throw AdminRefusal(status: 404, message: "there is nothing here; GET / lists what there is")
            }
            return try changing(.cancel(worker: stream.worker, serial: stream.serial), method)
        }
    }

    /// nil: the page never asks for that.
    private func pageAction(_ path: String, _ method: String) throws(AdminRefusal) -> AdminAction? {
        switch path {
        case PagePath.routes: return try reading(.pageRoutes, method)
        case PagePath.live: return try reading(.pageLive, method)
        case PagePath.call where !isDemo: return try changing(.pageCall, method)
        default:
            guard path.hasPrefix(PagePath.api), let stream = Self.stream("/" + path.dropFirst(PagePath.api.count))
            else { return nil }
            return try changing(.cancel(worker: stream.worker, serial: stream.serial), method)
        }
    }

    private func demoAction(_ path: String, _ method: String) throws(AdminRefusal) -> AdminAction {
        guard let action = try pageAction(path, method) else {
            throw AdminRefusal(status: 404, message: "there is nothing here")
        }
        return action
    }

    private func reading(
        _ action: AdminAction, _ method: String, allow: String = "GET, HEAD"
    ) throws(AdminRefusal) -> AdminAction {
        guard method == "GET" || method == "HEAD" else {
            throw AdminRefusal(status: 405, message: "not by this method", allow: allow)
        }
        return action
    }

    private func changing(_ action: AdminAction, _ method: String) throws(AdminRefusal) -> AdminAction {
        guard method == "POST" else { throw AdminRefusal(status: 405, message: "only by POST", allow: "POST") }
        return action
    }

    private static func limit(_ target: RequestTarget) throws(AdminRefusal) -> Int {
        guard let text = target.value(named: "limit") else { return streamsLimit }
        guard let limit = Int(text), (1...100_000).contains(limit) else {
            throw AdminRefusal(status: 400, message: "limit is a number from 1 to 100000")
        }
        return limit
    }

    /// `/streams/0-17/cancel`
    private static func stream(_ path: String) -> (worker: Int, serial: Int)? {
        let parts = path.split(separator: "/", omittingEmptySubsequences: false)
        guard parts.count == 4, parts[1] == "streams", parts[3] == "cancel" else { return nil }
        let numbers = parts[2].split(separator: "-", omittingEmptySubsequences: false)
        guard numbers.count == 2, let worker = Int(numbers[0]), let serial = Int(numbers[1]), worker >= 0, serial >= 0
        else { return nil }
        return (worker, serial)
    }

    private static func carries(_ token: Secret, _ head: RequestHead) -> Bool {
        guard let value = head.fields.first("authorization") else { return false }
        let bytes = Array(value.utf8)
        guard bytes.count > 7, String(decoding: bytes[..<7], as: UTF8.self).lowercased() == "bearer " else {
            return false
        }
        return isEqual(Array(bytes[7...]), Array(token.revealed.utf8))
    }

    /// Takes as long for a wrong token as for the right one, whatever they have in common.
    private static func isEqual(_ given: [UInt8], _ token: [UInt8]) -> Bool {
        var difference = given.count ^ token.count
        for (index, byte) in given.enumerated() {
            difference |= Int(byte ^ (token.isEmpty ? 0 : token[index % token.count]))
        }
        return difference == 0
    }

    /// `127.0.0.1:9910`, `[::1]:9910`, `localhost`: no name that somebody else's DNS answers for.
    static func isNumericOrLocal(_ authority: String) -> Bool {
        if authority.hasPrefix("[") { return authority.contains("]") }
        var name = Substring(authority)
        if let colon = name.firstIndex(of: ":") { name = name[..<colon] }
        if name.lowercased() == "localhost" { return true }
        let parts = name.split(separator: ".", omittingEmptySubsequences: false)
        return parts.count == 4 && parts.allSatisfy { UInt8($0) != nil }
    }
}
