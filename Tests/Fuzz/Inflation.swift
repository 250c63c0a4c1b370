import SluiceBytes
import SluiceHTTP

/// A compressed body, valid or not: nothing traps or hangs, and neither the cuts of the input nor the portions of the output change
/// what comes out or the verdict. And the same bytes as what is to be compressed, and as what a client says it takes.
@_cdecl("LLVMFuzzerTestOneInput")
public func fuzz(_ start: UnsafePointer<UInt8>?, _ count: Int) -> CInt {
    guard let input = FuzzInput(start, count) else { return 0 }
    let coding = input.variant & 1 == 0 ? ContentCoding.gzip : .deflate
    let whole = run(coding, input.whole, portion: 1 << 16)
    requireEqual(whole, run(coding, input.halves, portion: 1 << 16), "cut")
    requireEqual(whole, run(coding, input.whole, portion: 1 + Int(input.variant >> 1)), "portions")
    compress(input)
    accept(input.bytes)
    return 0
}

/// All that went in before a flush comes out behind it.
private func compress(_ input: FuzzInput) {
    guard var compressor = BodyCompressor(.gzip) else { return require(false, "no memory") }
    var inflater = Inflater(.gzip)
    let pieces = input.halves.filter { !$0.isEmpty } + [[]]
    for (index, piece) in pieces.enumerated() {
        var coded = ByteQueue()
        var plain = ByteQueue()
        var offset = 0
        let isLast = index == pieces.count - 1
        require(compressor.append(piece.span, isLast: isLast, into: &coded), "zlib takes anything")
        do throws(Inflater.Failure) {
            while try inflater.next(coded.span, at: &offset, limit: 1 << 16, into: &plain) {}
        } catch {
            require(false, "what was compressed cannot be inflated: \(error)")
        }
        require(
            plain.withUnsafeBytes { $0.elementsEqual(piece) }, "a flush holds something back, or makes something up")
        require(inflater.isComplete == isLast, "the end is where it was said to be")
    }
}

/// A coding is used only for who names it, or all.
private func accept(_ bytes: [UInt8]) {
    var fields = HeaderFields()
    let text = String(decoding: bytes, as: UTF8.self)
    fields.append("Accept-Encoding", text)
    guard let choice = AcceptEncoding(fields).choice(of: [.brotli, .gzip]) else { return }
    let lowered = text.lowercased()
    require(lowered.contains(choice.rawValue) || lowered.contains("*"), "\(choice) for \(text)")
}

/// So much may come out of one input: what a bomb says later it says of itself alone.
private let enough = 1 << 18

private func run(_ coding: ContentCoding, _ pieces: [[UInt8]], portion: Int) -> [String] {
    var inflater = Inflater(coding)
    var out = ByteQueue()
    var verdict = "open"
    do throws(Inflater.Failure) {
        for piece in pieces {
            var offset = 0
            while true {
                let (before, place) = (out.count, offset)
                let hasMore = try inflater.next(piece.span, at: &offset, limit: portion, into: &out)
                require(out.count - before <= portion, "no more comes out than was asked for")
                if out.count > enough { return ["more than enough", bytes(out, enough)] }
                guard hasMore else { break }
                require(offset > place || out.count > before, "each call takes or gives something")
            }
            require(offset == piece.count, "all of the input is taken")
        }
        if inflater.isComplete { verdict = "complete" }
    } catch {
        require(!inflater.isComplete, "a body that is not valid is not complete")
        if out.count > enough { return ["more than enough", bytes(out, enough)] }
        verdict = "\(error)"
    }
    return [verdict, bytes(out, out.count)]
}

private func bytes(_ queue: borrowing ByteQueue, _ count: Int) -> String {
    queue.withUnsafeBytes { "\(count) \($0.prefix(count).reduce(UInt64(7)) { $0 &* 31 &+ UInt64($1) })" }
}
