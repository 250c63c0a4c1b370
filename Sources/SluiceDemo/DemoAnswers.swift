/// The canned answers of the demo upstream, chosen by a word in the last user message. Between them they hold what
/// breaks naive bridges: newlines, leading spaces, code, a table, emoji of several scalars, CJK and right-to-left text.
enum DemoAnswers {
    /// The answer to `prompt`.
    static func answer(to prompt: String) -> String {
        let words = prompt.lowercased()
        for (keywords, answer) in byKeyword where keywords.contains(where: words.contains) { return answer }
        return """
            Hello! You said: "\(quotable(prompt))".

            I am the demo upstream that is built into Sluice. My answers are canned, but they come as a provider's do: one \
            token at a time, at a human pace. Ask me for one of these:

            - code
            - a table
            - emoji
            - Japanese, Chinese or Arabic
            """
    }

    /// What is thought before an answer.
    static func reasoning(on prompt: String) -> String {
        """
        The user asks: "\(quotable(prompt))". I am a demo and my answers are canned.

        Still, thoughts come first: one token at a time, apart from the answer.
        """
    }

    /// The answer once a tool has said `result`.
    static func answer(toResult result: String) -> String {
        """
        The tool has answered: "\(quotable(result))".

        That is all that this demo can make of it.
        """
    }

    /// On one line, and not long.
    private static func quotable(_ text: String) -> String {
        String(text.prefix(80)).split(whereSeparator: \.isNewline).joined(separator: " ")
    }

    private static let byKeyword: [([String], String)] = [
        (
            ["code", "program", "function"],
            """
            Here is a loop over an event stream:

            ```js
            const source = new EventSource('/stream/sse?prompt=hi');
            source.onmessage = (event) => {
                output.append(event.data);  // one run of text
            };
            source.addEventListener('done', () => source.close());
            ```

            Close it on `done`, or the browser connects again.
            """
        ),
        (
            ["table"],
            """
            | framing | content type | newlines survive |
            |---|---|:-:|
            | text | text/plain | yes |
            | sse-text | text/event-stream | as LF |
            | sse-json | text/event-stream | yes |
            | ndjson | application/x-ndjson | yes |
            """
        ),
        (
            ["emoji"],
            "A family 👨‍👩‍👧‍👦, a flag 🇪🇺, a thumb 👍🏽, a heart ❤️, and a rocket 🚀 that is two UTF-16 units.\n\nNone may be cut. ✅"
        ),
        (["japan", "日本"], "こんにちは。これはデモの応答です。\n一つずつトークンが届きます。改行も、絵文字🎌も、失われません。"),
        (["chin", "中文"], "你好！这是演示回答。\n每个词元单独到达，不会合并，也不会在字符中间被切断。"),
        (["arab", "عرب"], "مرحبا! هذا جواب تجريبي.\nيصل النص كلمة بعد كلمة، من اليمين إلى اليسار."),
    ]

    /// Cut as a tokenizer would: words with the space before them, line ends apart, never inside a character.
    static func tokens(of text: String) -> [String] {
        var tokens: [String] = []
        var current = ""
        for character in text {
            let isNarrow = character.isASCII && (character.isLetter || character.isNumber)
            let isBreak = character.isNewline || character == " " || !isNarrow
            if isBreak, !current.isEmpty, current != " " || character.isNewline {
                tokens.append(current)
                current = ""
            }
            current.append(character)
            if !isNarrow, character != " " {
                tokens.append(current)
                current = ""
            }
        }
        if !current.isEmpty { tokens.append(current) }
        return tokens
    }
}
