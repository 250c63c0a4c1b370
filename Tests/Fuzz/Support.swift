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

/// Whether `part` stands somewhere in `bytes`.
func holds(_ bytes: [UInt8], _ part: [UInt8]) -> Bool {
    guard let first = part.first else { return true }
    var rest = bytes[...]
    while let start = rest.firstIndex(of: first) {
        rest = rest[start...]
        if rest.starts(with: part) { return true }
        rest.removeFirst()
    }
    return false
}

/// RFC 8259, written a second time and with no eye on speed, so that what the product writes is not judged by its own reader. As deep
/// as the product's own limit inside of a document of its own.
struct StrictJSON {
    private var rest: ArraySlice<UInt8>

    static func isValue(_ text: [UInt8]) -> Bool {
        var reader = StrictJSON(rest: text[...])
        return reader.value(128) && reader.rest.isEmpty
    }

    private mutating func take(_ byte: Character) -> Bool {
        guard rest.first == byte.asciiValue else { return false }
        rest.removeFirst()
        return true
    }

    private mutating func space() { rest = rest.drop { $0 == 0x20 || $0 == 0x0A || $0 == 0x0D || $0 == 0x09 } }

    /// With the white space around it.
    private mutating func value(_ depth: Int) -> Bool {
        space()
        defer { space() }
        if take("{") { return members("}", depth) { $0.string() && $0.colon() } }
        if take("[") { return members("]", depth) { _ in true } }
        if rest.first == 0x22 { return string() }
        for word in ["true", "false", "null"] where rest.starts(with: word.utf8) {
            rest = rest.dropFirst(word.utf8.count)
            return true
        }
        return number()
    }

    private mutating func members(_ closing: Character, _ depth: Int, _ key: (inout StrictJSON) -> Bool) -> Bool {
        guard depth > 0 else { return false }
        space()
        if take(closing) { return true }
        repeat {
            space()
            guard key(&self), value(depth - 1) else { return false }
        } while take(",")
        return take(closing)
    }

    private mutating func colon() -> Bool {
        space()
        return take(":")
    }

    private mutating func string() -> Bool {
        guard take("\"") else { return false }
        while let byte = rest.popFirst() {
            if byte == 0x22 { return true }
            if byte < 0x20 { return false }
            guard byte == 0x5C else { continue }
            guard let escape = rest.popFirst() else { return false }
            if escape == UInt8(ascii: "u") {
                let digits = rest.prefix(4)
                guard digits.count == 4, digits.allSatisfy({ Character(UnicodeScalar($0)).isHexDigit }) else {
                    return false
                }
                rest = rest.dropFirst(4)
            } else if !"\"\\/bfnrt".utf8.contains(escape) {
                return false
            }
        }
        return false
    }

    private mutating func digits() -> Bool {
        let digits = rest.prefix { 0x30...0x39 ~= $0 }
        rest = rest.dropFirst(digits.count)
        return !digits.isEmpty
    }

    private mutating func number() -> Bool {
        _ = take("-")
        if !take("0") { guard digits() else { return false } }
        if take(".") { guard digits() else { return false } }
        guard take("e") || take("E") else { return true }
        if !take("+") { _ = take("-") }
        return digits()
    }
}
