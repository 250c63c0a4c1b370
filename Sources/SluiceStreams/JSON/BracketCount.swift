import SluiceBytes

/// Tells when an object or array that comes in fragments is whole, by its brackets alone; holds none of it.
struct BracketCount {
    private var depth = 0
    private var isInString = false
    private var isEscaped = false
    /// The outermost bracket has been closed.
    private(set) var isWhole = false

    mutating func take(_ fragment: Span<UInt8>) {
        for index in fragment.indices {
            let byte = fragment[index]
            if isEscaped {
                isEscaped = false
            } else if isInString {
                isEscaped = byte == ASCII.backslash
                isInString = byte != ASCII.quote
            } else {
                takeOutside(byte)
            }
        }
    }

    private mutating func takeOutside(_ byte: UInt8) {
        switch byte {
        case ASCII.quote: isInString = true
        case ASCII.leftBrace, ASCII.leftBracket: depth &+= 1
        case ASCII.rightBrace, ASCII.rightBracket:
            depth &-= 1
            if depth <= 0 { isWhole = true }
        default: break
        }
    }
}
