import Glibc

/// The input of one run: its first bytes choose the variant and the cut, the rest is what a peer sent.
struct FuzzInput {
    /// Chooses limits, formats and the like.
    let variant: UInt8
    let bytes: [UInt8]
    /// Where `bytes` is cut in two; 0...bytes.count.
    let cut: Int

    /// Two bytes for the cut let it reach every place in 64 KiB.
    init?(_ start: UnsafePointer<UInt8>?, _ count: Int) {
        guard let start, count >= 3 else { return nil }
        variant = start[0]
        bytes = Array(UnsafeBufferPointer(start: start + 3, count: count - 3))
        cut = (Int(start[1]) << 8 | Int(start[2])) % (bytes.count + 1)
    }

    /// The whole in one piece, and in two. Each piece is an allocation of its own, so that AddressSanitizer sees a read
    /// behind its end.
    var whole: [[UInt8]] { [bytes] }
    var halves: [[UInt8]] { [Array(bytes[..<cut]), Array(bytes[cut...])] }
}

/// A property that does not hold is a crash, which libFuzzer keeps the input of.
func require(_ condition: Bool, _ what: @autoclosure () -> String) {
    if condition { return }
    print("property violated: \(what())")
    fflush(nil)
    abort()
}

/// Requires two traces to be equal and shows where they part.
func requireEqual(_ whole: [String], _ cut: [String], _ what: String) {
    guard whole != cut else { return }
    let parted = zip(whole, cut).enumerated().first { $0.element.0 != $0.element.1 }
    let place = parted?.offset ?? min(whole.count, cut.count)
    let left = place < whole.count ? whole[place] : "nothing"
    let right = place < cut.count ? cut[place] : "nothing"
    require(false, "\(what): line \(place)\n  whole: \(left)\n    cut: \(right)")
}
