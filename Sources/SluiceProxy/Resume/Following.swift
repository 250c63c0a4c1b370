import SluiceBytes
import SluiceHTTP

/// What an exchange wants of an answer that another one makes, and its place in it.
final class Following {
    enum Wish: Equatable {
        /// Read all of it there is, and what is to come. `position` is nil where the client has not said from where.
        case read([GenerationName], position: Int?)
        /// The same, where there is one; else this request begins one.
        case readOrBegin(String)
        case stop([GenerationName])
        /// It has read all.
        case nothing
        /// `task` says what.
        case task
        /// It names something that is no answer's id; the text before the slash, which an answer repeats.
        case unknown(String)
    }
    let wish: Wish
    private(set) var task: TaskReading?
    var subscription: (any ReplaySubscription)?
    /// Of the answer; for the last word.
    var id = ""
    var isEnded = false
    /// What has ended by now is nothing to it.
    var wantsOnlyNew = false
    private(set) var hasBytes = false
    /// Something of ours would not stand within something of the answer's.
    private(set) var isBetweenEvents = true
    /// A head that waits for the first byte: without any there is nothing to read.
    var head: ResponseHead?

    init(_ wish: Wish) { self.wish = wish }

    init(_ task: TaskReading) { (wish, self.task) = (.task, task) }

    /// These are sent. `hasBlankLines`: they end events.
    func note(_ bytes: Span<UInt8>, hasBlankLines: Bool) {
        guard let last = bytes.indices.last else { return }
        let endedLine = hasBytes && lastByte == ASCII.lf
        let before = last > 0 ? bytes[last - 1] == ASCII.lf : endedLine
        isBetweenEvents = bytes[last] == ASCII.lf && (before || !hasBlankLines)
        (lastByte, hasBytes) = (bytes[last], true)
    }
    private var lastByte: UInt8 = 0

    func resume() { subscription?.resume() }

    func cancel() {
        subscription?.cancel()
        subscription = nil
    }

    /// A client's name may look like an id of ours, and the other way round.
    static func names(_ text: String) -> [GenerationName] {
        StreamName.isID(text) ? [.id(text), .alias(text)] : [.alias(text)]
    }
}
