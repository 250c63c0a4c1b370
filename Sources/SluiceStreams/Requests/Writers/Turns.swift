/// Turns of user and model for APIs where they alternate: neighbours that the same one speaks are joined.
struct Turns {
    private(set) var list: [(isUser: Bool, content: [JSONValue])] = []

    mutating func add(isUser: Bool, _ content: [JSONValue]) {
        guard !content.isEmpty else { return }
        if let last = list.indices.last, list[last].isUser == isUser {
            list[last].content += content
        } else {
            list.append((isUser, content))
        }
    }

    /// Where the user has to speak first and the model greeted, as many chats begin.
    mutating func beginWithUser(_ greeting: JSONValue) {
        if let first = list.first, !first.isUser { list.insert((true, [greeting]), at: 0) }
    }
}
