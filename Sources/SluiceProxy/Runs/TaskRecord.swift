import SluiceBytes
import SluiceStreams

/// What is kept of a task, read from its beginning: lines as `ndjson` writes them, which say its text, and at last what became of it.
/// Pure, and cut invariant.
struct TaskRecord: ~Copyable {
    enum Outcome: Equatable {
        case completed
        case failed(String)
        case cancelled
    }
    private(set) var outcome: Outcome?
    /// What a line may be, in bytes: nobody who writes into a store can make it more.
    private let limitBytes: Int
    private var line: [UInt8] = []

    /// What stands in the record of a task that a client has ended.
    static let cancelledLine: StaticString = "{\"cancelled\":true}\n"

    init(limitBytes: Int) { self.limitBytes = limitBytes }

    /// Appends the text that `bytes` bring, one run after the other: `text` is called for each, as UTF-8.
    mutating func read(_ bytes: Span<UInt8>, text: (Span<UInt8>) -> Void) {
        var start = 0
        for index in bytes.indices where bytes[index] == ASCII.lf {
            take(bytes.extracting(start..<index), text)
            start = index + 1
        }
        guard start < bytes.count, outcome == nil else { return }
        let rest = bytes.extracting(start..<bytes.count)
        guard line.count + rest.count <= limitBytes else { return outcome = .failed("the task's record is damaged") }
        rest.withUnsafeBufferPointer { line.append(contentsOf: $0) }
    }

    private mutating func take(_ end: Span<UInt8>, _ text: (Span<UInt8>) -> Void) {
        guard outcome == nil else { return }
        let whole = line + end.withUnsafeBufferPointer { Array($0) }
        line = []
        guard let members = JSONValue.parse(whole) else { return }
        if let run = members["text"] ?? members["refusal"] {
            // Another choice is no part of the output.
            if members["choice"] == nil, let words = run.string?.utf8 { text(words.span) }
        } else if let error = members["error"] {
            outcome = .failed(error["message"]?.string?.text ?? "the task failed")
        } else if members["done"]?.bool == true {
            outcome = .completed
        } else if members["cancelled"]?.bool == true {
            outcome = .cancelled
        }
    }
}
