import SluiceBytes
import SluiceHTTP

/// An own generation as its store knows it: what Redis is to know, and the bytes that wait for it.
final class RedisGeneration {
    let facts: GenerationFacts
    /// In place of the scope itself.
    let scope: String
    let recordKey: String
    let bodyKey: String
    let newsChannel: String
    let aliasKey: String?
    var head: ResponseHead?
    var ending: GenerationEnding?
    var keep: Interval
    var endedAt = Instant(nanoseconds: 0)
    var refreshAt = Instant(nanoseconds: 0)
    /// Redis was told of it since the connection is up.
    var isAnnounced = false
    /// Its body has an expiry.
    var hasBody = false

    var waiting = ByteQueue()
    /// The position of the first byte that waits.
    var waitingStart = 0
    /// Behind all that was handed in, whether it was stored or not.
    var end = 0
    /// Nothing before this is stored.
    private var floor = 0
    /// The most that one entry holds.
    let entryBytes: Int

    init(_ facts: GenerationFacts, keep: Interval, _ keys: RedisKeys) {
        (self.facts, self.keep) = (facts, keep)
        scope = RedisKeys.digest(facts.scope)
        (recordKey, bodyKey) = (keys.record(facts.id), keys.body(facts.id))
        newsChannel = keys.news(facts.id)
        aliasKey = facts.alias.map { keys.alias($0, scope: facts.scope) }
        entryBytes = min(16 << 10, max(256, facts.bufferBytes / 4))
    }

    var headArguments: [RESPArgument] {
        guard let head else { return [] }
        return ["status", .number(head.status), "fields", .bytes(RedisHead.encode(head.fields))]
    }

    /// `XADD` of the first `count` bytes that wait. Where more than the buffer would be stored, it drops an eighth of it, so that not
    /// each entry has to drop another one.
    func writeEntry(_ count: Int, into out: inout ByteQueue) {
        let end = waitingStart + count
        let drops = end - floor > facts.bufferBytes
        out.appendCommand(count: 5 + (drops ? 2 : 0) + (hasBody ? 1 : 0))
        out.appendArgument("XADD")
        out.appendArgument(bodyKey)
        // A body that Redis has lost must not begin anew without an expiry.
        if hasBody { out.appendArgument("NOMKSTREAM") }
        if drops {
            floor = end - (facts.bufferBytes - facts.bufferBytes / 8)
            out.appendArgument("MINID")
            // No entry is longer than this, so that none which begins before the floor stays.
            out.appendArgument(id(floor + entryBytes))
        }
        out.appendArgument(id(end))
        out.appendArgument("b")
        waiting.withUnsafeBytes { out.appendArgument(UnsafeBufferPointer(rebasing: $0.prefix(count))) }
    }

    /// The same, and the expiry of the whole: four commands.
    func writeFirstEntry(_ count: Int, _ keepMilliseconds: Int, into out: inout ByteQueue) {
        out.appendCommand(["MULTI"])
        writeEntry(count, into: &out)
        out.appendCommand(["PEXPIRE", .text(bodyKey), .number(keepMilliseconds)])
        out.appendCommand(["EXEC"])
    }

    private func id(_ position: Int) -> String { "\(position)-0" }

    func writeNews(into out: inout ByteQueue) {
        out.appendCommand(count: 3)
        out.appendArgument("PUBLISH")
        out.appendArgument(newsChannel)
        out.appendArgument("\(waitingStart)")
    }
}
