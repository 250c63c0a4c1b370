import SluiceBytes
import SluiceStreams

/// What the proxy must know of an OpenAI chat request that it sends on as it came: found in one pass over the text, nothing is
/// built. Of a key that stands twice the last one counts, as with most parsers.
struct ChatBody {
    enum Flag { case absent, yes, no, other }

    private(set) var stream = Flag.absent
    private(set) var hasMessages = false
    private(set) var hasStreamOptions = false
    /// The value of `model`, quotes included.
    private var model: Range<Int>?
    /// Where the brace stands that closes the object.
    private var end = 0

    /// nil if `text` is not a JSON object.
    init?(_ text: Span<UInt8>) {
        var scanner = JSONScanner(text)
        guard scanner.enterObject() else { return nil }
        while let key = scanner.nextKey() {
            let name = text.extracting(key)
            let kind = scanner.peek()
            guard let value = scanner.value() else { return nil }
            switch name.count {
            case 5 where ASCII.equal(name, "model"): model = kind == .string ? value : nil
            case 6 where ASCII.equal(name, "stream"):
                let word = text.extracting(value)
                stream = ASCII.equal(word, "true") ? .yes : ASCII.equal(word, "false") ? .no : .other
            case 8 where ASCII.equal(name, "messages"): hasMessages = kind == .array
            case 14 where ASCII.equal(name, "stream_options"): hasStreamOptions = true
            default: break
            }
        }
        end = scanner.position - 1
        guard scanner.isAtEnd() else { return nil }
    }

    /// How long the name in `model` is, as it is written.
    var modelBytes: Int { model.map { $0.count - 2 } ?? 0 }

    /// The name in `model`, or "".
    func modelName(in text: Span<UInt8>) -> String {
        guard let model else { return "" }
        let quoted = text.extracting(model)
        if quoted.count > 2, ASCII.firstIndex(of: ASCII.backslash, in: quoted) == nil {
            return quoted.extracting(1..<(quoted.count - 1)).withUnsafeBufferPointer {
                String(decoding: $0, as: UTF8.self)
            }
        }
        guard case .string(let name)? = JSONValue.parse(text.extracting(model)) else { return "" }
        return name.text
    }

    /// `text` with `members` added, which begin with a comma. The object is not empty.
    func adding(_ members: StaticString, to text: Span<UInt8>) -> [UInt8] {
        var bytes: [UInt8] = []
        bytes.reserveCapacity(text.count + members.utf8CodeUnitCount)
        text.extracting(0..<end).withUnsafeBufferPointer { bytes.append(contentsOf: $0) }
        bytes.append(contentsOf: UnsafeBufferPointer(start: members.utf8Start, count: members.utf8CodeUnitCount))
        bytes.append(ASCII.rightBrace)
        return bytes
    }
}
