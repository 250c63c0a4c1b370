/// The text of a stream, made up of words in an order that is the same in each run.
struct Words {
    /// About the lengths of a tokenizer's pieces; some need escapes in JSON, some more lines in SSE.
    private static let pieces: [String] = [
        "The", " of", " a", " stream", " is", " read", " as", " it", " comes", ",", " and", " each", " piece", " goes",
        " on", " at", " once", ".", " No", "body", " waits", " for", " the", " end", ":", " that", " would", " be",
        " slow", "er", " than", " reading", " aloud", ".\n\n", " Über", " naïve", " 東京", " 🙂", " \"quoted\"", "\n",
        " connection", " understanding", " responsibilities", "ing", "ed", "s", " to", " in", " with", " more", " 4",
        "2", "%", " (", ")", " ;", " which", " were", " by", " an", " not", " all", " so", " then",
    ]

    private var state: UInt32 = 1

    mutating func next() -> String {
        state = state &* 1_664_525 &+ 1_013_904_223
        return Self.pieces[Int(state >> 16) % Self.pieces.count]
    }

    /// `text` as a JSON string, quotes included. Knows the characters of `pieces` only.
    static func quoted(_ text: String) -> String {
        var result = "\""
        for character in text {
            switch character {
            case "\n": result += "\\n"
            case "\"": result += "\\\""
            default: result.append(character)
            }
        }
        return result + "\""
    }
}
