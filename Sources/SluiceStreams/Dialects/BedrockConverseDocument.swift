import SluiceBytes

/// Usage, and a whole answer of Converse: `{"output":{"message":{"role","content":[]}},"stopReason","usage"}`.
extension BedrockConverseDialect {
    /// The counts of cached tokens stand beside `inputTokens`, and their names differ between models. `totalTokens`
    /// tells where they are included.
    static func usage(_ json: Span<UInt8>) -> Usage {
        var counts = Counts()
        var scanner = JSONScanner(json)
        guard scanner.enterObject() else { return Usage() }
        while let key = scanner.nextKey() {
            guard let member = Counts.member(json.extracting(key)) else {
                scanner.value()
                continue
            }
            if let count = scanner.integer() { counts[keyPath: member] = count }
        }
        return scanner.isValid ? counts.usage : Usage()
    }

    private struct Counts {
        var input: Int?
        var output: Int?
        var total: Int?
        var read: Int?
        var written: Int?

        static func member(_ name: Span<UInt8>) -> WritableKeyPath<Counts, Int?>? {
            if ASCII.equal(name, "inputTokens") { return \.input }
            if ASCII.equal(name, "outputTokens") { return \.output }
            if ASCII.equal(name, "totalTokens") { return \.total }
            if ASCII.equal(name, "cacheReadInputTokens") || ASCII.equal(name, "cacheReadInputTokenCount") {
                return \.read
            }
            if ASCII.equal(name, "cacheWriteInputTokens") || ASCII.equal(name, "cacheWriteInputTokenCount") {
                return \.written
            }
            return nil
        }

        var usage: Usage {
            let isInside = total != nil && total == (input ?? 0) &+ (output ?? 0)
            let beside = isInside ? 0 : (read ?? 0) &+ (written ?? 0)
            return Usage(input: input.map { $0 &+ beside }, output: output, cached: read)
        }
    }

    mutating func decode(document: JSONValue, into batch: inout EventBatch) -> Bool {
        guard let blocks = document["output"]?["message"]?["content"]?.elements else { return false }
        answer.start(into: &batch)
        for (index, block) in blocks.enumerated() { read(block, key: index, into: &batch) }
        if let reason = document["stopReason"]?.string {
            answer.finish(Self.reason(reason.span), raw: reason.span, into: &batch)
        }
        if let usage = document["usage"] {
            let text = usage.serialized()
            answer.usage(Self.usage(text.span), into: &batch)
        }
        return true
    }

    private mutating func read(_ block: JSONValue, key: Int, into batch: inout EventBatch) {
        if let text = block["text"]?.string { answer.text(text.span, into: &batch) }
        if let thought = block["reasoningContent"]?["reasoningText"] {
            if let text = thought["text"]?.string { answer.reasoning(text.span, into: &batch) }
            if let proof = thought["signature"]?.string { answer.signature(proof.span, into: &batch) }
        }
        if let cited = block["citationsContent"] { readCited(cited, into: &batch) }
        guard let use = block["toolUse"], use["type"]?.string != "server_tool_use" else { return }
        let (id, name) = (use["toolUseId"]?.string ?? "", use["name"]?.string ?? "")
        answer.openCall(key: key, id: id.span, name: name.span, into: &batch)
        if let input = use["input"]?.serialized() { answer.arguments(key: key, value: input.span, into: &batch) }
        Self.closeCall(key, of: &answer, into: &batch)
    }

    /// `{"content":[{"text"}],"citations":[{"title","location"}]}`
    private mutating func readCited(_ block: JSONValue, into batch: inout EventBatch) {
        for part in block["content"]?.elements ?? [] {
            if let text = part["text"]?.string { answer.text(text.span, into: &batch) }
        }
        for citation in block["citations"]?.elements ?? [] {
            guard let url = citation["location"]?["web"]?["url"]?.string else { continue }
            let title = citation["title"]?.string ?? ""
            answer.source(url: url.span, title: title.span, into: &batch)
        }
    }
}
