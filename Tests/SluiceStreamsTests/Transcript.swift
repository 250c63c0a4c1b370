import SluiceBytes
import SluiceStreams

/// What a stream's events add up to, in the terms of the fixtures.
struct Transcript: Equatable {
    struct Call: Equatable {
        var id: String
        var name: String
        var arguments = ""
    }
    struct Choice: Equatable {
        var text = ""
        var reasoning = ""
        var refusal = ""
        var calls: [Call] = []
        var finish: String?
    }
    var choices: [Int: Choice] = [:]
    var usage: Usage?
    var errors: [String] = []
    var starts = 0
    var pings = 0
    var hasEnded = false

    /// Whether the order of events holds what it promises: one start, first; calls started before their arguments.
    var isWellFormed = true

    mutating func add(_ batch: borrowing EventBatch) {
        for event in batch.events {
            if starts == 0 {
                switch event {
                case .start, .ping, .end: break
                default: isWellFormed = false
                }
            }
            switch event {
            case .start: starts += 1
            case .text(let choice, let range): choices[choice, default: Choice()].text += batch.string(range)
            case .reasoning(let choice, let range): choices[choice, default: Choice()].reasoning += batch.string(range)
            case .refusal(let choice, let range): choices[choice, default: Choice()].refusal += batch.string(range)
            case .toolCallStart(let choice, let index, let id, let name):
                if choices[choice, default: Choice()].calls.count != index { isWellFormed = false }
                choices[choice, default: Choice()].calls.append(Call(id: batch.string(id), name: batch.string(name)))
            case .toolCallArguments(let choice, let index, let range):
                guard index < choices[choice, default: Choice()].calls.count else {
                    isWellFormed = false
                    continue
                }
                choices[choice]?.calls[index].arguments += batch.string(range)
            case .finish(let choice, _, let raw):
                if choices[choice, default: Choice()].finish != nil { isWellFormed = false }
                choices[choice, default: Choice()].finish = batch.string(raw)
            case .usage(let counts): usage = counts
            case .error(_, let message, _, _): errors.append(batch.string(message))
            case .ping: pings += 1
            case .end: hasEnded = true
            default: break
            }
        }
        if starts > 1 { isWellFormed = false }
    }
}
