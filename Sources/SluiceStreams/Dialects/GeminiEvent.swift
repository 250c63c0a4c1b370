import SluiceBytes

/// One GenerateContentResponse, as places in its JSON. The index of a candidate may stand behind its parts, and the id
/// of the answer behind all of them: so nothing is told before all is read.
struct GeminiEvent {
    /// More than any answer has in one event, and few enough to keep.
    static let partLimit = 4096

    struct Part {
        /// The place of its candidate in `candidates`.
        let candidate: Int
        var text: Range<Int>?
        var isThought = false
        var signature: Range<Int>?
        var call: Call?
    }
    /// `arguments` whole or, from Vertex, `pieces` of them.
    struct Call {
        var id: Range<Int>?
        var name: Range<Int>?
        var arguments: Range<Int>?
        var pieces: Range<Int>?
        var willContinue = false
    }
    struct Candidate {
        var index: Int?
        var finish: Range<Int>?
        var grounding: Range<Int>?
    }
    struct Counts {
        var prompt: Int?
        var candidates: Int?
        var thoughts: Int?
        var cached: Int?
    }

    private(set) var parts: [Part] = []
    private(set) var candidates: [Candidate] = []
    private(set) var id: Range<Int>?
    private(set) var model: Range<Int>?
    private(set) var blockReason: Range<Int>?
    private(set) var counts = Counts()
    private(set) var hasError = false
    private(set) var isKnown = false
    private(set) var hasTooManyParts = false

    /// False: it is not one JSON object. The storage of the event before is used again, unless that was unusually
    /// large.
    mutating func read(_ json: Span<UInt8>) -> Bool {
        parts.removeAll(keepingCapacity: parts.count < 64)
        candidates.removeAll(keepingCapacity: candidates.count < 64)
        (id, model, blockReason, counts) = (nil, nil, nil, Counts())
        (hasError, isKnown, hasTooManyParts) = (false, false, false)
        var scanner = JSONScanner(json)
        guard scanner.enterObject() else { return false }
        while let key = scanner.nextKey() { readMember(json.extracting(key), &scanner) }
        return scanner.isAtEnd()
    }

    private mutating func readMember(_ name: Span<UInt8>, _ scanner: inout JSONScanner) {
        if ASCII.equal(name, "candidates") {
            isKnown = true
            readCandidates(&scanner)
        } else if ASCII.equal(name, "usageMetadata") {
            isKnown = true
            readCounts(&scanner)
        } else if ASCII.equal(name, "promptFeedback") {
            isKnown = true
            readFeedback(&scanner)
        } else if ASCII.equal(name, "modelVersion") {
            isKnown = true
            model = scanner.stringOrSkip()
        } else if ASCII.equal(name, "responseId") {
            isKnown = true
            id = scanner.stringOrSkip()
        } else if ASCII.equal(name, "error") {
            hasError = scanner.tellsOfError()
        } else {
            scanner.value()
        }
    }

    // MARK: - Candidates

    private mutating func readCandidates(_ scanner: inout JSONScanner) {
        guard scanner.peek() == .array, scanner.enterArray() else {
            scanner.value()
            return
        }
        while scanner.nextElement() {
            guard scanner.peek() == .object, scanner.enterObject() else {
                scanner.value()
                continue
            }
            guard candidates.count < AnswerState.choiceLimit else {
                hasTooManyParts = true
                return
            }
            candidates.append(Candidate())
            readCandidate(&scanner, at: candidates.count - 1)
        }
    }

    private mutating func readCandidate(_ scanner: inout JSONScanner, at position: Int) {
        let json = scanner.bytes
        var candidate = Candidate()
        while let key = scanner.nextKey() {
            let name = json.extracting(key)
            if ASCII.equal(name, "content"), scanner.peek() == .object {
                readContent(&scanner, at: position)
            } else if ASCII.equal(name, "finishReason") {
                candidate.finish = scanner.word()
            } else if ASCII.equal(name, "index") {
                candidate.index = scanner.count()
            } else if ASCII.equal(name, "groundingMetadata") {
                candidate.grounding = scanner.objectOrSkip()
            } else {
                scanner.value()
            }
        }
        candidates[position] = candidate
    }

    private mutating func readContent(_ scanner: inout JSONScanner, at position: Int) {
        guard scanner.enterObject() else { return }
        let json = scanner.bytes
        while let key = scanner.nextKey() {
            guard ASCII.equal(json.extracting(key), "parts"), scanner.peek() == .array, scanner.enterArray() else {
                scanner.value()
                continue
            }
            while scanner.nextElement() {
                if scanner.peek() == .object { readPart(&scanner, at: position) } else { scanner.value() }
            }
        }
    }

    /// Code that Google runs itself, images and files are no text, and are passed over.
    private mutating func readPart(_ scanner: inout JSONScanner, at position: Int) {
        guard scanner.enterObject() else { return }
        let json = scanner.bytes
        var part = Part(candidate: position)
        while let key = scanner.nextKey() {
            let name = json.extracting(key)
            if ASCII.equal(name, "text") {
                part.text = scanner.stringOrSkip()
            } else if ASCII.equal(name, "thought") {
                part.isThought = Self.isTrue(&scanner)
            } else if ASCII.equal(name, "thoughtSignature") {
                part.signature = scanner.stringOrSkip()
            } else if ASCII.equal(name, "functionCall"), scanner.peek() == .object {
                part.call = Self.readCall(&scanner)
            } else {
                scanner.value()
            }
        }
        guard part.text != nil || part.signature != nil || part.call != nil else { return }
        if parts.count < Self.partLimit { parts.append(part) } else { hasTooManyParts = true }
    }

    private static func readCall(_ scanner: inout JSONScanner) -> Call {
        var call = Call()
        guard scanner.enterObject() else { return call }
        let json = scanner.bytes
        while let key = scanner.nextKey() {
            let name = json.extracting(key)
            if ASCII.equal(name, "name") {
                call.name = scanner.stringOrSkip()
            } else if ASCII.equal(name, "id") {
                call.id = scanner.stringOrSkip()
            } else if ASCII.equal(name, "args") {
                call.arguments = scanner.objectOrSkip()
            } else if ASCII.equal(name, "partialArgs"), scanner.peek() == .array {
                call.pieces = scanner.value()
            } else if ASCII.equal(name, "willContinue") {
                call.willContinue = isTrue(&scanner)
            } else {
                scanner.value()
            }
        }
        return call
    }

    private static func isTrue(_ scanner: inout JSONScanner) -> Bool {
        let value = scanner.value()
        return value.map { ASCII.equal(scanner.bytes.extracting($0), "true") } ?? false
    }

    // MARK: - Beside the candidates

    private mutating func readCounts(_ scanner: inout JSONScanner) {
        guard scanner.peek() == .object, scanner.enterObject() else {
            scanner.value()
            return
        }
        let json = scanner.bytes
        while let key = scanner.nextKey() {
            let name = json.extracting(key)
            if ASCII.equal(name, "promptTokenCount") {
                counts.prompt = scanner.count()
            } else if ASCII.equal(name, "candidatesTokenCount") {
                counts.candidates = scanner.count()
            } else if ASCII.equal(name, "thoughtsTokenCount") {
                counts.thoughts = scanner.count()
            } else if ASCII.equal(name, "cachedContentTokenCount") {
                counts.cached = scanner.count()
            } else {
                scanner.value()
            }
        }
    }

    private mutating func readFeedback(_ scanner: inout JSONScanner) {
        guard scanner.peek() == .object, scanner.enterObject() else {
            scanner.value()
            return
        }
        let json = scanner.bytes
        while let key = scanner.nextKey() {
            if ASCII.equal(json.extracting(key), "blockReason") {
                blockReason = scanner.word()
            } else {
                scanner.value()
            }
        }
    }
}
