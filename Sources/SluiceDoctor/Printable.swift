/// What a server says, as it may go to a terminal: such bytes could clear it, colour it, rename its window, or turn its lines around.
enum Printable {
    /// C0 with its line ends, DEL, C1, and what changes lines or the direction of writing (Unicode Bidi_Control, LS, PS).
    static func isControl(_ scalar: Unicode.Scalar) -> Bool {
        switch scalar.value {
        case 0x00...0x1F, 0x7F...0x9F, 0x061C, 0x200E...0x200F, 0x2028...0x202E, 0x2066...0x2069: true
        default: false
        }
    }

    /// One line of text: each control as `\u{1b}`.
    static func line(_ text: String) -> String {
        replacing(text) { "\\u{\(String($0, radix: 16))}" }
    }

    /// A JSON document in one line: it means the same. Controls stand nowhere but in its strings, and all are of the basic plane.
    static func json(_ document: String) -> String {
        replacing(document) { value in
            let digits = String(value, radix: 16)
            return "\\u" + String(repeating: "0", count: max(0, 4 - digits.utf8.count)) + digits
        }
    }

    /// For a shell, whatever is in it.
    static func quoted(_ text: String) -> String {
        "'" + text.split(separator: "'", omittingEmptySubsequences: false).joined(separator: #"'\''"#) + "'"
    }

    private static func replacing(_ text: String, _ replacement: (UInt32) -> String) -> String {
        guard text.unicodeScalars.contains(where: isControl) else { return text }
        var result = String.UnicodeScalarView()
        for scalar in text.unicodeScalars {
            if isControl(scalar) {
                result.append(contentsOf: replacement(scalar.value).unicodeScalars)
            } else {
                result.append(scalar)
            }
        }
        return String(result)
    }
}
