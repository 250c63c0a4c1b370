import SluiceBytes

/// Token counts in the shape of each format. A figure that the provider did not give is absent, not zero, unless
/// the format cannot do without it.
extension Usage {
    var isUnknown: Bool { self == Usage() }
    private var total: Int? {
        guard let input, let output else { return nil }
        return input &+ output
    }

    /// OpenAI's chat and completions.
    func appendOpenAI(into out: inout ByteQueue) {
        var members = MemberWriter()
        out.append(ASCII.leftBrace)
        members.number("prompt_tokens", input, into: &out)
        members.number("completion_tokens", output, into: &out)
        members.number("total_tokens", total, into: &out)
        Self.detail("prompt_tokens_details", "cached_tokens", cached, &members, into: &out)
        Self.detail("completion_tokens_details", "reasoning_tokens", reasoning, &members, into: &out)
        out.append(ASCII.rightBrace)
    }

    /// The library's types have every figure, so one that is unknown is 0; but all or none.
    func appendResponses(into out: inout ByteQueue) {
        if isUnknown { return out.append("null") }
        out.append("{\"input_tokens\":")
        out.append(decimal: input ?? 0)
        out.append(",\"input_tokens_details\":{\"cached_tokens\":")
        out.append(decimal: cached ?? 0)
        out.append(",\"cache_write_tokens\":0},\"output_tokens\":")
        out.append(decimal: output ?? 0)
        out.append(",\"output_tokens_details\":{\"reasoning_tokens\":")
        out.append(decimal: reasoning ?? 0)
        out.append("},\"total_tokens\":")
        out.append(decimal: (input ?? 0) &+ (output ?? 0))
        out.append(ASCII.rightBrace)
    }

    /// `needsInput`: `message_start` and whole messages must have both counts, which are 0 as long as they are unknown;
    /// `message_delta` must have the output alone. Input is without what came from the cache.
    func appendAnthropic(needsInput: Bool, into out: inout ByteQueue) {
        var members = MemberWriter()
        out.append(ASCII.leftBrace)
        let fresh = input.map { max(0, $0 &- (cached ?? 0)) }
        members.number("input_tokens", fresh ?? (needsInput ? 0 : nil), into: &out)
        members.number("cache_read_input_tokens", cached, into: &out)
        members.number("output_tokens", output ?? 0, into: &out)
        out.append(ASCII.rightBrace)
    }

    /// `candidatesTokenCount` is without the thoughts.
    func appendGemini(into out: inout ByteQueue) {
        var members = MemberWriter()
        out.append(ASCII.leftBrace)
        members.number("promptTokenCount", input, into: &out)
        members.number("candidatesTokenCount", output.map { max(0, $0 &- (reasoning ?? 0)) }, into: &out)
        members.number("thoughtsTokenCount", reasoning, into: &out)
        members.number("cachedContentTokenCount", cached, into: &out)
        members.number("totalTokenCount", total, into: &out)
        out.append(ASCII.rightBrace)
    }

    func appendCohere(into out: inout ByteQueue) {
        if isUnknown { return out.append("{}") }
        out.append(ASCII.leftBrace)
        for (position, name) in (["billed_units", "tokens"] as [StaticString]).enumerated() {
            var members = MemberWriter()
            out.append(position == 0 ? "\"" as StaticString : ",\"")
            out.append(name)
            out.append("\":{")
            members.number("input_tokens", input, into: &out)
            members.number("output_tokens", output, into: &out)
            out.append(ASCII.rightBrace)
        }
        if let cached {
            out.append(",\"cached_tokens\":")
            out.append(decimal: cached)
        }
        out.append(ASCII.rightBrace)
    }

    /// MLflow's gateway: all keys, with nulls.
    func appendMLflow(into out: inout ByteQueue) {
        var members = MemberWriter()
        out.append(ASCII.leftBrace)
        for (name, value) in [
            ("prompt_tokens" as StaticString, input), ("completion_tokens", output), ("total_tokens", total),
        ] {
            members.key(name, into: &out)
            if let value { out.append(decimal: value) } else { out.append("null") }
        }
        out.append(ASCII.rightBrace)
    }

    /// Sluice's own formats.
    func appendNeutral(into out: inout ByteQueue) {
        var members = MemberWriter()
        out.append(ASCII.leftBrace)
        members.number("input_tokens", input, into: &out)
        members.number("output_tokens", output, into: &out)
        members.number("cached_tokens", cached, into: &out)
        members.number("reasoning_tokens", reasoning, into: &out)
        out.append(ASCII.rightBrace)
    }

    private static func detail(
        _ name: StaticString, _ inner: StaticString, _ value: Int?, _ members: inout MemberWriter,
        into out: inout ByteQueue
    ) {
        guard let value else { return }
        members.key(name, into: &out)
        out.append("{\"")
        out.append(inner)
        out.append("\":")
        out.append(decimal: value)
        out.append(ASCII.rightBrace)
    }
}
