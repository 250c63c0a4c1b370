/// How hard to think: words for some APIs, a number of tokens for others.
///
/// `minimal` is 1,024 tokens, `low` 2,048, `medium` 8,192, `high` 24,576, and anything above that 32,768.
extension ChatRequest.Reasoning {
    /// Anthropic takes no less.
    static let leastBudget = 1024

    /// In tokens; nil if the model is to find out by itself.
    var tokens: Int? {
        if let budget { return budget }
        switch effort?.text {
        case "minimal"?: return Self.leastBudget
        case "low"?: return 2048
        case "medium"?: return 8192
        case "high"?: return 24576
        case "xhigh"?, "max"?: return 32768
        default: return nil
        }
    }

    /// In a word.
    var word: JSONString? {
        // Anthropic's word for more than any other has.
        if let effort { return effort == "max" ? "high" : effort }
        guard let budget else { return nil }
        switch budget {
        case ...0: return nil
        case ...2048: return "low"
        case ...8192: return "medium"
        default: return "high"
        }
    }

    /// `none` asks for no thinking.
    init(effort: JSONString) {
        let isNone = effort == "none"
        self.init(effort: isNone ? nil : effort, isEnabled: !isNone)
    }
}
