import SluiceBytes

/// Content blocks of Anthropic's Messages: as they begin and end in a stream, and whole in a document.
extension AnthropicMessagesDialect {
    /// `content_block`, most often still empty.
    mutating func startBlock(_ json: Span<UInt8>, _ index: Int, into batch: inout EventBatch) {
        var (kind, text, thinking, signature): (Range<Int>?, Range<Int>?, Range<Int>?, Range<Int>?)
        var (id, name, input, citations): (Range<Int>?, Range<Int>?, Range<Int>?, Range<Int>?)
        var scanner = JSONScanner(json)
        guard scanner.enterObject() else { return }
        while let key = scanner.nextKey() {
            let member = json.extracting(key)
            switch member.count {
            case 4 where ASCII.equal(member, "type"): kind = scanner.stringOrSkip()
            case 4 where ASCII.equal(member, "text"): text = scanner.stringOrSkip()
            case 8 where ASCII.equal(member, "thinking"): thinking = scanner.stringOrSkip()
            case 9 where ASCII.equal(member, "signature"): signature = scanner.stringOrSkip()
            case 2 where ASCII.equal(member, "id"): id = scanner.stringOrSkip()
            case 4 where ASCII.equal(member, "name"): name = scanner.stringOrSkip()
            case 5 where ASCII.equal(member, "input"): input = scanner.objectOrSkip()
            case 9 where ASCII.equal(member, "citations"): citations = scanner.value()
            default: scanner.value()
            }
        }
        guard scanner.isValid else { return }
        let word = json.extracting(kind ?? 0..<0)
        if ASCII.equal(word, "text") {
            answer.text(json.extracting(text ?? 0..<0), into: &batch)
            if let citations { answer.sources(json.extracting(citations), into: &batch) }
        } else if ASCII.equal(word, "thinking") {
            answer.reasoning(json.extracting(thinking ?? 0..<0), into: &batch)
            answer.signature(json.extracting(signature ?? 0..<0), into: &batch)
        } else if ASCII.equal(word, "tool_use") {
            answer.openCall(
                key: index, id: json.extracting(id ?? 0..<0), name: json.extracting(name ?? 0..<0), into: &batch)
            if let input { held.hold(json.extracting(input), key: index) }
        } else {
            batch.append(.unknown)
        }
    }

    mutating func stopBlock(_ index: Int, into batch: inout EventBatch) {
        held.release(to: &answer, into: &batch)
        answer.closeCall(key: index, into: &batch)
    }

    mutating func decode(document: JSONValue, into batch: inout EventBatch) -> Bool {
        guard let blocks = document["content"]?.elements else {
            return answer.providerError(document: document, into: &batch)
        }
        let (id, model) = (document["id"]?.string ?? "", document["model"]?.string ?? "")
        answer.start(id: id.span, model: model.span, into: &batch)
        for (index, block) in blocks.enumerated() where block.members != nil {
            startBlock(block.serialized().span, index, into: &batch)
            stopBlock(index, into: &batch)
        }
        if let reason = document["stop_reason"]?.string { finish(reason.span, into: &batch) }
        if let usage = document["usage"], usage.members != nil { count(usage.serialized().span, into: &batch) }
        return true
    }
}

/// Anthropic counts what came from a cache, or went into one, beside the input. Figures of later events replace those
/// of earlier ones; null replaces nothing.
struct AnthropicUsage {
    private var input: Int?
    private var output: Int?
    private var cacheRead: Int?
    private var cacheCreation: Int?

    mutating func read(_ json: Span<UInt8>) {
        var scanner = JSONScanner(json)
        guard scanner.enterObject() else { return }
        while let key = scanner.nextKey() {
            let name = json.extracting(key)
            if ASCII.equal(name, "input_tokens") {
                input = scanner.integer() ?? input
            } else if ASCII.equal(name, "output_tokens") {
                output = scanner.integer() ?? output
            } else if ASCII.equal(name, "cache_read_input_tokens") {
                cacheRead = scanner.integer() ?? cacheRead
            } else if ASCII.equal(name, "cache_creation_input_tokens") {
                cacheCreation = scanner.integer() ?? cacheCreation
            } else {
                scanner.value()
            }
        }
    }

    var counts: Usage {
        let all = input.map { $0 &+ (cacheRead ?? 0) &+ (cacheCreation ?? 0) }
        return Usage(input: all, output: output, cached: cacheRead)
    }
}
