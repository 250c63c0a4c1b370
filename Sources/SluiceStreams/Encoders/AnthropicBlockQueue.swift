import SluiceBytes

/// The content blocks of one message, strictly one after the other, for providers that mix theirs: what belongs to
/// no open block waits until the calls before it are whole. Text and thinking never wait for anything but calls.
struct AnthropicBlockQueue {
    /// What may wait in all.
    static let byteLimit = 8 << 20

    enum Kind: Equatable { case text, thinking, call(Int) }
    private struct Block {
        let kind: Kind
        var quotedID: [UInt8] = []
        var name: [UInt8] = []
        var bytes: [UInt8] = []
        var signature: [UInt8] = []
        var hasEnded = false
    }
    private var open: Kind?
    private var nextIndex = 0
    private var waiting: [Block] = []
    private var waitingBytes = 0

    var isOverLimit: Bool { waitingBytes > Self.byteLimit }

    /// A delta of text or of thinking.
    mutating func write(_ kind: Kind, _ text: Span<UInt8>, into out: inout ByteQueue) {
        if mustWait {
            if waiting.last?.kind != kind || waiting.last?.hasEnded == true { wait(Block(kind: kind)) }
            return append(text, toWaiting: waiting.count - 1)
        }
        if open != kind {
            close(into: &out)
            start(Block(kind: kind), into: &out)
        }
        delta(kind, text, into: &out)
    }

    /// The signature ends the thinking before it; where none stands, there is nothing to sign.
    mutating func sign(_ signature: Span<UInt8>, into out: inout ByteQueue) {
        if let last = waiting.indices.last {
            guard waiting[last].kind == .thinking, !waiting[last].hasEnded else { return }
            waiting[last].signature = Array(copying: signature)
            waiting[last].hasEnded = true
            waitingBytes &+= signature.count
        } else if open == .thinking {
            delta("signature_delta", "signature", signature, into: &out)
            close(into: &out)
        }
    }

    mutating func startCall(_ index: Int, quotedID: [UInt8], _ name: Span<UInt8>, into out: inout ByteQueue) {
        let block = Block(kind: .call(index), quotedID: quotedID, name: Array(copying: name))
        if mustWait { return wait(block) }
        close(into: &out)
        start(block, into: &out)
    }

    mutating func appendArguments(_ index: Int, _ fragment: Span<UInt8>, into out: inout ByteQueue) {
        if open == .call(index) {
            delta(.call(index), fragment, into: &out)
        } else if let position = waiting.firstIndex(where: { $0.kind == .call(index) }) {
            append(fragment, toWaiting: position)
        }
    }

    mutating func endCall(_ index: Int, into out: inout ByteQueue) {
        if open == .call(index) {
            close(into: &out)
            release(into: &out)
        } else if let position = waiting.firstIndex(where: { $0.kind == .call(index) }) {
            waiting[position].hasEnded = true
        }
    }

    /// Nothing more is expected: all that waits is written, and the last block closed.
    mutating func finish(into out: inout ByteQueue) {
        for position in waiting.indices { waiting[position].hasEnded = true }
        close(into: &out)
        release(into: &out)
        close(into: &out)
    }

    // MARK: - Waiting

    /// A call is open, which only its own end closes.
    private var mustWait: Bool {
        if case .call = open { return true }
        return false
    }

    private mutating func wait(_ block: Block) {
        // A block costs something even with nothing in it, and the calls among them are looked for.
        waitingBytes &+= 2048 &+ block.name.count &+ block.quotedID.count
        if !isOverLimit { waiting.append(block) }
    }

    private mutating func append(_ bytes: Span<UInt8>, toWaiting position: Int) {
        waitingBytes &+= bytes.count
        if !isOverLimit, waiting.indices.contains(position) { waiting[position].bytes.append(bytes) }
    }

    /// Writes what waits, up to and including the first call that is not whole.
    private mutating func release(into out: inout ByteQueue) {
        var count = 0
        while !mustWait, count < waiting.count {
            let block = waiting[count]
            count += 1
            close(into: &out)
            start(block, into: &out)
            if !block.bytes.isEmpty { delta(block.kind, block.bytes.span, into: &out) }
            if !block.signature.isEmpty { delta("signature_delta", "signature", block.signature.span, into: &out) }
            if block.hasEnded { close(into: &out) }
        }
        waiting.removeFirst(count)
        if waiting.isEmpty { waitingBytes = 0 }
    }

    // MARK: - Events

    private mutating func start(_ block: Block, into out: inout ByteQueue) {
        open = block.kind
        NamedEvent.open("content_block_start", into: &out)
        out.append(",\"index\":")
        out.append(decimal: nextIndex)
        out.append(",\"content_block\":")
        switch block.kind {
        case .text: out.append("{\"type\":\"text\",\"text\":\"\"}")
        case .thinking: out.append("{\"type\":\"thinking\",\"thinking\":\"\",\"signature\":\"\"}")
        case .call:
            out.append("{\"type\":\"tool_use\",\"id\":")
            out.append(block.quotedID)
            out.append(",\"name\":")
            JSONText.appendQuoted(block.name.span, into: &out)
            out.append(",\"input\":{}}")
        }
        NamedEvent.close(into: &out)
    }

    private func delta(_ kind: Kind, _ text: Span<UInt8>, into out: inout ByteQueue) {
        switch kind {
        case .text: delta("text_delta", "text", text, into: &out)
        case .thinking: delta("thinking_delta", "thinking", text, into: &out)
        case .call: delta("input_json_delta", "partial_json", text, into: &out)
        }
    }

    private func delta(
        _ type: StaticString, _ member: StaticString, _ text: Span<UInt8>, into out: inout ByteQueue
    ) {
        NamedEvent.open("content_block_delta", into: &out)
        out.append(",\"index\":")
        out.append(decimal: nextIndex)
        out.append(",\"delta\":{\"type\":\"")
        out.append(type)
        out.append("\",\"")
        out.append(member)
        out.append("\":")
        JSONText.appendQuoted(text, into: &out)
        out.append(ASCII.rightBrace)
        NamedEvent.close(into: &out)
    }

    private mutating func close(into out: inout ByteQueue) {
        guard open != nil else { return }
        open = nil
        NamedEvent.open("content_block_stop", into: &out)
        out.append(",\"index\":")
        out.append(decimal: nextIndex)
        NamedEvent.close(into: &out)
        nextIndex &+= 1
    }
}
