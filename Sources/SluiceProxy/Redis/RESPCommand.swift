import SluiceBytes

/// One argument of a command.
enum RESPArgument: ExpressibleByStringLiteral, Sendable {
    case text(String)
    case bytes([UInt8])
    case number(Int)

    init(stringLiteral value: String) { self = .text(value) }
}

/// Commands as Redis wants them: arrays of bulk strings.
extension ByteQueue {
    mutating func appendCommand(_ arguments: [RESPArgument]) {
        appendCommand(count: arguments.count)
        for argument in arguments {
            switch argument {
            case .text(let text): appendArgument(text)
            case .bytes(let bytes): appendArgument(bytes.span)
            case .number(let number): appendArgument("\(number)")
            }
        }
    }

    /// As many arguments follow, the command's name included.
    mutating func appendCommand(count: Int) {
        append("*")
        append(decimal: count)
        append("\r\n")
    }

    mutating func appendArgument(_ bytes: Span<UInt8>) {
        bytes.withUnsafeBufferPointer { appendArgument($0) }
    }

    mutating func appendArgument(_ bytes: UnsafeBufferPointer<UInt8>) {
        append("$")
        append(decimal: bytes.count)
        append("\r\n")
        append(bytes)
        append("\r\n")
    }

    mutating func appendArgument(_ text: String) {
        append("$")
        append(decimal: text.utf8.count)
        append("\r\n")
        append(text)
        append("\r\n")
    }
}
