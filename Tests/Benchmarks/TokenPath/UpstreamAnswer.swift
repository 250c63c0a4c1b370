/// What the provider sends: the head, a round of events that is sent again and again, and the end. All of it is made
/// before anything is measured.
struct UpstreamAnswer {
    /// Tokens in a round. A stream is so many whole rounds.
    static let roundTokens = 1000

    let texts: [String]
    /// The SSE events of a round, without HTTP's framing.
    let events: [String]
    /// Head and the event that begins a stream, one round, and the end.
    let opening: [UInt8]
    let round: [UInt8]
    let closing: [UInt8]
    /// Where the reads of a round end.
    let cuts: [Int]

    static let role = chunk(delta: #"{"role":"assistant","content":"","refusal":null}"#, padding: "")
    static let ending = [
        chunk(delta: "{}", finish: "\"stop\"", padding: ""),
        "data: {\(identity),\"choices\":[],\"usage\":"
            + #"{"prompt_tokens":19,"completion_tokens":1000,"total_tokens":1019}}"# + "\n\n",
        "data: [DONE]\n\n",
    ]

    init(_ chunks: BenchmarkCase.Chunks, _ reads: BenchmarkCase.Reads) {
        var words = Words()
        texts = (0..<Self.roundTokens).map { _ in words.next() }
        events = texts.map { text in
            // The padding hides the text's length: both together are a multiple of 16.
            let padding = chunks == .plain ? "" : String("x7QdK2mPzR9bTwYc".prefix(16 - text.utf8.count % 16))
            return Self.chunk(delta: "{\"content\":\(Words.quoted(text))}", padding: padding)
        }
        let head = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
        opening = Array((head + Self.framed(Self.role)).utf8)
        closing = Array((Self.ending.map(Self.framed).joined() + "0\r\n\r\n").utf8)
        var bytes: [UInt8] = []
        var ends: [Int] = []
        for event in events {
            bytes += Array(Self.framed(event).utf8)
            ends.append(bytes.count)
        }
        if reads == .large { ends = Array(stride(from: 16384, to: bytes.count, by: 16384)) + [bytes.count] }
        (round, cuts) = (bytes, ends)
    }

    private static let identity =
        #""id":"chatcmpl-CkR3vQ8mTn0yWbXe5LsJd2HfUaZg7","object":"chat.completion.chunk","created":1774962821,"#
        + #""model":"gpt-4o-2024-08-06","service_tier":"default","system_fingerprint":"fp_3f8a51c07e""#

    private static func chunk(delta: String, finish: String = "null", padding: String) -> String {
        let choice = "{\"index\":0,\"delta\":\(delta),\"logprobs\":null,\"finish_reason\":\(finish)}"
        let rest = padding.isEmpty ? "" : ",\"obfuscation\":\"\(padding)\""
        return "data: {\(identity),\"choices\":[\(choice)],\"usage\":null\(rest)}\n\n"
    }

    /// As one chunk of HTTP/1.1's coding.
    private static func framed(_ event: String) -> String {
        "\(String(event.utf8.count, radix: 16))\r\n\(event)\r\n"
    }
}
