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
        /// It names something that is no answer's id; the text before the slash, which an answer repeats.
        case unknown(String)
    }
    let wish: Wish
    var subscription: (any ReplaySubscription)?
    /// Of the answer; for the last word.
    var id = ""
    var isEnded = false
    var hasBytes = false
    /// A head that waits for the first byte: without any there is nothing to read.
    var head: ResponseHead?

    init(_ wish: Wish) { self.wish = wish }

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
