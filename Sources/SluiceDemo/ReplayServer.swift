import SluiceBytes
import SluiceHTTP
import SluiceIO

/// Plays recordings to all who ask: the one that the path names (`/NAME` or `/FOLDER/NAME`), else each in turn.
public final class ReplayServer {
    private let server: ScriptServer
    /// Where it really listens.
    public var address: SocketAddress { server.address }

    public init(_ recordings: [Recording], on address: SocketAddress, loop: EventLoop) throws(SystemError) {
        var turn = ReplayTurn(recordings)
        server = try ScriptServer(on: address, loop: loop) { method, target, _, _ in
            turn.answer(method, target.normalizedPath ?? target.path)
        }
    }

    public func close() { server.close() }
}

/// Whose turn it is.
struct ReplayTurn {
    private let recordings: [Recording]
    private var next = 0

    init(_ recordings: [Recording]) { self.recordings = recordings }

    mutating func answer(_ method: String, _ path: String) -> DemoScript {
        guard method == "GET" || method == "POST" else {
            return .error(405, "a recording is asked for with GET or POST", .openAIChat)
        }
        if let named = recordings.first(where: { path == "/\($0.name)" || path == "/\($0.folder)/\($0.name)" }) {
            return named.script
        }
        guard !recordings.isEmpty else { return .error(404, "there is no recording", .openAIChat) }
        let recording = recordings[next % recordings.count]
        next = (next + 1) % recordings.count
        return recording.script
    }
}
