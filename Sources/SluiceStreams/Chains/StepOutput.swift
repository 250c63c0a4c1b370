import SluiceBytes

/// The text of a step's answer, as far as it has come.
public final class StepOutput {
    private var text = ByteQueue()
    private let limitBytes: Int
    /// It has grown past its limit, and is not whole.
    public private(set) var isOverLimit = false

    public init(limitBytes: Int) { self.limitBytes = limitBytes }

    public var count: Int { text.count }
    /// UTF-8; a copy.
    public var bytes: [UInt8] { text.withUnsafeBytes { Array($0) } }

    fileprivate func append(_ bytes: Span<UInt8>) {
        guard !isOverLimit, text.count + bytes.count <= limitBytes else { return isOverLimit = true }
        text.append(bytes)
    }

    /// What stands at a path in an answer that is JSON, also where that stands in a fence of Markdown, as models like to have it.
    public static func value(in output: [UInt8], at path: [String]) -> [UInt8]? {
        JSONValue.parse(strictly: withoutFence(output))?.value(at: path)?.templateText
    }

    private static func withoutFence(_ output: [UInt8]) -> [UInt8] {
        func isSpace(_ byte: UInt8) -> Bool { byte == 0x20 || (0x09...0x0D).contains(byte) }
        let text = output.drop(while: isSpace)
        let end = text.lastIndex { !isSpace($0) } ?? text.startIndex
        let trimmed = text.isEmpty ? text : text[...end]
        let fence: [UInt8] = [0x60, 0x60, 0x60]
        guard trimmed.count >= 6, trimmed.starts(with: fence), trimmed.suffix(3).elementsEqual(fence),
            let line = trimmed.firstIndex(of: ASCII.lf)
        else { return Array(trimmed) }
        return line < trimmed.endIndex - 3 ? Array(trimmed[(line + 1)..<(trimmed.endIndex - 3)]) : []
    }
}

/// An answer that is collected for the steps behind it: the visible text of choice 0 and nothing else. Like a document nothing of it
/// leaves before it is whole, so that another upstream can take over until then.
struct StepEncoder: StreamEncoder {
    let output: StepOutput

    var contentType: StaticString { "text/plain; charset=utf-8" }
    var isDocument: Bool { true }

    func encode(_ batch: borrowing EventBatch, into out: inout ByteQueue) {
        for event in batch.events {
            switch event {
            case .text(choice: 0, let text), .refusal(choice: 0, let text): output.append(batch.bytes(text))
            default: break
            }
        }
    }

    func end(into out: inout ByteQueue) -> BodyEnding { .complete }
    func fail(_ failure: StreamFailure, into out: inout ByteQueue) -> BodyEnding { .complete }
    func keepalive(into out: inout ByteQueue) -> Bool { false }
}

extension StreamBridge {
    /// Collects the answer's text, and sends nothing on.
    public init(decoder: any StreamDecoder, collecting output: StepOutput) {
        self.init(decoder: decoder, encoder: StepEncoder(output: output))
    }
}

extension FinishReason {
    /// In OpenAI's words.
    public var text: String { word.description }
}
