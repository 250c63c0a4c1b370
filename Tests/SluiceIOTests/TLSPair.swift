import SluiceBytes
import SluiceIO

/// A client and a server with a wire between them that the test cuts as it likes.
final class TLSPair {
    let client: TLSEngine
    let server: TLSEngine
    private(set) var clientError: TLSError?
    private(set) var serverError: TLSError?
    /// Decrypted bytes that each side received.
    private(set) var clientReceived: [UInt8] = []
    private(set) var serverReceived: [UInt8] = []
    /// Ciphertext on its way.
    var toClient = ByteQueue()
    var toServer = ByteQueue()
    /// Flights of ciphertext that were delivered, by size.
    private(set) var flights: [Int] = []
    /// Gives each flight in two pieces, cut here; nil: whole.
    var cut: Int?

    init(_ server: TLSContext, _ client: TLSContext, name: String = "default.test") throws {
        self.server = try server.makeServerEngine()
        self.client = try client.makeClientEngine(serverName: name)
    }

    /// Begins the handshake and carries bytes until both sides are silent.
    func connect() {
        feedClient([])
        pump()
    }

    func pump() {
        while !toServer.isEmpty || !toClient.isEmpty {
            let up = Self.take(&toServer)
            for piece in pieces(up) { feedServer(piece) }
            let down = Self.take(&toClient)
            for piece in pieces(down) { feedClient(piece) }
        }
    }

    func feedServer(_ bytes: ArraySlice<UInt8>) {
        feed(server, bytes, output: &toClient, received: &serverReceived, error: &serverError)
    }

    func feedClient(_ bytes: ArraySlice<UInt8>) {
        feed(client, bytes, output: &toServer, received: &clientReceived, error: &clientError)
    }

    func sendFromClient(_ bytes: [UInt8]) throws { try client.send(bytes.span, output: &toServer) }
    func sendFromServer(_ bytes: [UInt8]) throws { try server.send(bytes.span, output: &toClient) }

    var bothAreUp: Bool {
        client.isHandshakeComplete && server.isHandshakeComplete && clientError == nil && serverError == nil
    }

    static func take(_ queue: inout ByteQueue) -> [UInt8] {
        let bytes = queue.withUnsafeBytes { Array($0) }
        queue.removeAll()
        return bytes
    }

    private func pieces(_ bytes: [UInt8]) -> [ArraySlice<UInt8>] {
        guard !bytes.isEmpty else { return [] }
        flights.append(bytes.count)
        guard let cut, cut < bytes.count else { return [bytes[...]] }
        return [bytes[..<cut], bytes[cut...]]
    }

    /// At most 64 KiB a call, as a connection does it.
    private func feed(
        _ engine: TLSEngine, _ bytes: ArraySlice<UInt8>, output: inout ByteQueue, received: inout [UInt8],
        error: inout TLSError?
    ) {
        var plaintext = ByteQueue()
        var rest = bytes
        repeat {
            let piece = Array(rest.prefix(64 << 10))
            rest = rest.dropFirst(piece.count)
            do throws(TLSError) {
                try engine.receive(piece.span, plaintext: &plaintext, output: &output)
            } catch let thrown {
                error = thrown
            }
        } while !rest.isEmpty
        received += Self.take(&plaintext)
    }
}
