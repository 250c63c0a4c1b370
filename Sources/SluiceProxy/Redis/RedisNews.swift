import SluiceBytes
import SluiceIO

/// Waits for what is said on one channel.
protocol RedisListener: AnyObject {
    /// nil: it is listened to from now on, and something may have been said before.
    func redisHeard(_ message: [UInt8]?)
}

/// All channels that one worker listens to, over one connection that is made when the first one is wanted. What is said while it
/// is away is lost: whoever listens must look for himself now and then.
final class RedisNews: RedisConnectionDelegate {
    private struct Listener {
        weak var listener: (any RedisListener)?
        let identity: ObjectIdentifier
    }
    private let connection: RedisConnection
    private var channels: [[UInt8]: [Listener]] = [:]
    private let failed: (RedisFailure) -> Void

    /// `failed`: for counting; each attempt and each refusal.
    init(_ connection: RedisConnection, failed: @escaping (RedisFailure) -> Void) {
        (self.connection, self.failed) = (connection, failed)
        connection.delegate = self
    }

    func close() {
        channels = [:]
        connection.close()
    }

    var channelCount: Int { channels.count }

    func listen(to channel: String, _ listener: any RedisListener) {
        let name = Array(channel.utf8)
        let isNew = channels[name] == nil
        channels[name, default: []].append(Listener(listener: listener, identity: ObjectIdentifier(listener)))
        guard isNew else { return }
        if connection.isUp { subscribe(name) } else { connection.start() }
    }

    func stopListening(to channel: String, _ listener: any RedisListener) {
        let name = Array(channel.utf8)
        channels[name]?.removeAll { $0.identity == ObjectIdentifier(listener) }
        guard channels[name]?.isEmpty == true else { return }
        channels[name] = nil
        connection.send(["UNSUBSCRIBE", .bytes(name)])
    }

    private func subscribe(_ channel: [UInt8]) {
        connection.send(["SUBSCRIBE", .bytes(channel)]) { [weak self] result in
            if case .success = result { self?.tell(channel, nil) }
        }
    }

    private func tell(_ channel: [UInt8], _ message: [UInt8]?) {
        for entry in channels[channel] ?? [] { entry.listener?.redisHeard(message) }
    }

    // MARK: - RedisConnectionDelegate

    func redisUp(_ connection: RedisConnection) {
        for channel in channels.keys { subscribe(channel) }
    }

    func redisDown(_ connection: RedisConnection, _ failure: RedisFailure) { failed(failure) }

    func redisRefused(_ connection: RedisConnection, _ failure: RedisFailure) { failed(failure) }

    func redisPublished(_ connection: RedisConnection, channel: [UInt8], message: [UInt8]) { tell(channel, message) }
}
