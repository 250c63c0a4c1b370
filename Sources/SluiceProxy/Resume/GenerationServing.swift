import SluiceBytes
import SluiceHTTP

/// Who reads a generation, and what each of them is told.
extension Generation {
    /// Reads from `position` on. Nothing is called before the turn's end.
    func follow(from position: Int, _ target: any ReplayReader) -> GenerationReader {
        let reader = GenerationReader(target, of: self, from: position)
        readers.append(reader)
        readersChanged()
        worker.loop.afterTurn { [weak self, weak reader] in
            guard let self, let reader else { return }
            serve([reader])
        }
        return reader
    }

    func leave(_ reader: GenerationReader) {
        guard let index = readers.firstIndex(where: { $0 === reader }) else { return }
        readers.remove(at: index)
        if let original, original.subscription === reader {
            sentByOriginal = original.client.sentBytes
            original.leave()
            self.original = nil
        }
        readersChanged()
        if pumpDepth == 0 { settle() }
    }

    func resumed(_ reader: GenerationReader) { serve([reader]) }

    private func readersChanged() {
        life.readersChanged(to: readers.count, at: now)
        if !isForgotten, ending != nil { directory.readersChanged(facts.id, hasReaders: hasReaders) }
        arm()
    }

    func pump() { serve(readers) }

    private func serve(_ readers: [GenerationReader]) {
        guard head != nil else { return failWaiting() }
        pumpDepth += 1
        for reader in readers { serve(reader) }
        pumpDepth -= 1
        if pumpDepth == 0 { settle() }
    }

    /// It ended without ever beginning.
    private func failWaiting() {
        guard ending != nil else { return }
        for reader in readers { reader.fail(.unknown) }
    }

    private func serve(_ reader: GenerationReader) {
        guard !reader.isServed else { return }
        reader.isServed = true
        defer { reader.isServed = false }
        if !reader.hasHead {
            reader.hasHead = true
            if let original, original.subscription === reader, let (head, length) = ownHead {
                original.client.sendHead(head, length: length)
                // A stream that Sluice writes itself may begin before there is anything to say.
                if log.end == 0, ending == nil { original.client.flush() }
            } else if let head {
                reader.target?.replayHead(head)
            }
        }
        while reader.isReading {
            switch log.reading(at: reader.position) {
            case .bytes:
                let position = reader.position
                log.read(at: position, limit: Self.portionBytes) { bytes in
                    reader.position = position + bytes.count
                    reader.target?.replayBytes(bytes)
                }
            case .atEnd:
                guard let ending else { return }
                reader.end(ending)
            case .forgotten: reader.fail(.forgotten)
            case .beyond: reader.fail(.unknown)
            }
        }
    }

    /// Handed to one reader at a time, in bytes.
    static let portionBytes = 64 << 10

    func isCaughtUp(_ reader: GenerationReader) -> Bool { reader.position >= log.end }

    /// After readers have moved: forgets what is to be forgotten, and lets the upstream go on.
    private func settle() {
        trim()
        if isForgotten, ending != nil, readers.isEmpty { return release() }
        guard let exchange, exchange.isUpstreamPaused, !isDrainedDue,
            (furthest.map { log.end - $0 } ?? 0) <= aheadLimit / 2
        else { return }
        isDrainedDue = true
        // Not within what the upstream's own bytes have brought about.
        worker.loop.afterTurn { [weak self] in
            guard let self else { return }
            isDrainedDue = false
            if let exchange = self.exchange, !isCongested { exchange.upstreamMayGoOn() }
        }
    }

    /// The worker ends: whoever still reads is told nothing more.
    func letGo() {
        let last = readers
        readers = []
        original = nil
        for reader in last { reader.cancel() }
        exchange = nil
    }
}
