import SluiceBytes

extension BedrockConverseDialect {
    /// `{"contentBlockIndex","delta":{}}` with one of `text`, `toolUse`, `reasoningContent` and `citation` in it, as places in
    /// the event.
    struct Delta {
        private(set) var block = 0
        private(set) var text: Range<Int>?
        private(set) var input: Range<Int>?
        private(set) var reasoning: Range<Int>?
        private(set) var signature: Range<Int>?
        private(set) var citation: Range<Int>?

        /// nil: no JSON object.
        init?(_ json: Span<UInt8>) {
            var scanner = JSONScanner(json)
            guard scanner.enterObject() else { return nil }
            while let key = scanner.nextKey() {
                let name = json.extracting(key)
                if ASCII.equal(name, "contentBlockIndex") {
                    block = scanner.integer() ?? 0
                } else if ASCII.equal(name, "delta"), scanner.peek() == .object {
                    read(&scanner)
                } else {
                    scanner.value()
                }
            }
            guard scanner.isAtEnd() else { return nil }
        }

        private mutating func read(_ scanner: inout JSONScanner) {
            guard scanner.enterObject() else { return }
            let bytes = scanner.bytes
            while let key = scanner.nextKey() {
                let name = bytes.extracting(key)
                if ASCII.equal(name, "text") {
                    text = scanner.stringOrSkip()
                } else if ASCII.equal(name, "toolUse"), scanner.peek() == .object {
                    readInput(&scanner)
                } else if ASCII.equal(name, "reasoningContent"), scanner.peek() == .object {
                    readReasoning(&scanner)
                } else if ASCII.equal(name, "citation") {
                    citation = scanner.objectOrSkip()
                } else {
                    scanner.value()
                }
            }
        }

        /// `{"input":"a piece of the arguments"}`; `type` came with the block's start.
        private mutating func readInput(_ scanner: inout JSONScanner) {
            guard scanner.enterObject() else { return }
            let bytes = scanner.bytes
            while let key = scanner.nextKey() {
                if ASCII.equal(bytes.extracting(key), "input") {
                    input = scanner.stringOrSkip()
                } else {
                    scanner.value()
                }
            }
        }

        /// `{"text"}`, `{"signature"}` or `{"redactedContent"}`, which nobody can read.
        private mutating func readReasoning(_ scanner: inout JSONScanner) {
            guard scanner.enterObject() else { return }
            let bytes = scanner.bytes
            while let key = scanner.nextKey() {
                let name = bytes.extracting(key)
                if ASCII.equal(name, "text") {
                    reasoning = scanner.stringOrSkip()
                } else if ASCII.equal(name, "signature") {
                    signature = scanner.stringOrSkip()
                } else {
                    scanner.value()
                }
            }
        }
    }
}
