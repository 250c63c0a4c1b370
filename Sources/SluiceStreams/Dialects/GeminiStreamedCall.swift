import SluiceBytes

/// A call whose arguments come in pieces (Vertex AI, `streamFunctionCallArguments`):
/// `{"jsonPath":"$.a.b[0]","stringValue":"…","willContinue":true}`, a value each or the next part of a string. They go
/// on as one object, once it is whole: pieces of values at any place do not join to JSON text.
struct GeminiStreamedCall {
    let key: Int
    let choice: Int
    private var tree = JSONValue.object([])
    /// The string that is still growing, and its place.
    private var path: [UInt8] = []
    private var text: [UInt8] = []
    private var isGrowing = false
    private var byteCount = 0
    private var pieceCount = 0

    private static let byteLimit = 1 << 20
    private static let pieceLimit = 4096

    private enum Step {
        case member(String)
        case element(Int)
    }
    private struct Piece {
        var path: Range<Int>?
        var text: Range<Int>?
        var other: Range<Int>?
        var willContinue = false
    }

    init(key: Int, choice: Int) { (self.key, self.choice) = (key, choice) }

    /// An array of pieces. False: one of them does not fit, or they are more than the limits.
    mutating func take(_ json: Span<UInt8>) -> Bool {
        byteCount &+= json.count
        var scanner = JSONScanner(json)
        guard byteCount <= Self.byteLimit, scanner.enterArray() else { return false }
        while scanner.nextElement() {
            guard scanner.peek() == .object, scanner.enterObject() else { return false }
            var piece = Piece()
            while let key = scanner.nextKey() {
                let name = json.extracting(key)
                if ASCII.equal(name, "jsonPath") {
                    piece.path = scanner.stringOrSkip()
                } else if ASCII.equal(name, "stringValue") {
                    piece.text = scanner.stringOrSkip()
                } else if ASCII.equal(name, "willContinue") {
                    piece.willContinue = scanner.value().map { ASCII.equal(json.extracting($0), "true") } ?? false
                } else if ASCII.equal(name, "numberValue") || ASCII.equal(name, "boolValue")
                    || ASCII.equal(name, "nullValue")
                {
                    piece.other = scanner.value()
                } else {
                    scanner.value()
                }
            }
            pieceCount += 1
            guard pieceCount <= Self.pieceLimit, take(piece, json) else { return false }
        }
        return scanner.isAtEnd()
    }

    private mutating func take(_ piece: Piece, _ json: Span<UInt8>) -> Bool {
        guard let place = piece.path.map({ Self.copy(json.extracting($0)) }) else { return true }
        if !isGrowing || place != path {
            guard settle() else { return false }
            path = place
        }
        if let part = piece.text {
            text += Self.copy(json.extracting(part))
            isGrowing = true
            return piece.willContinue ? true : settle()
        }
        guard let other = piece.other else { return settle() }
        // Null is written as the name of its only value.
        let value = JSONValue.parse(json.extracting(other)) ?? .null
        isGrowing = false
        return put(value.string == nil ? value : .null)
    }

    /// The arguments, as JSON text.
    mutating func whole() -> [UInt8] {
        _ = settle()
        return tree.serialized()
    }

    private mutating func settle() -> Bool {
        guard isGrowing else { return true }
        isGrowing = false
        let grown = text
        text.removeAll()
        return put(.string(JSONString(raw: grown[...])))
    }

    private mutating func put(_ value: JSONValue) -> Bool {
        guard let steps = Self.steps(JSONString(raw: path[...]).text), !steps.isEmpty,
            steps.count < JSONScanner.depthLimit
        else { return false }
        return Self.put(value, at: steps[...], in: &tree)
    }

    private static func put(_ value: JSONValue, at steps: ArraySlice<Step>, in tree: inout JSONValue) -> Bool {
        guard let step = steps.first else {
            tree = value
            return true
        }
        switch step {
        case .member(let name):
            guard tree.isNull || tree.members != nil else { return false }
            var members = tree.members ?? []
            tree = .null  // so that what is changed has one owner
            let position = members.firstIndex { $0.key == name } ?? members.count
            if position == members.count { members.append((key: name, value: .null)) }
            guard put(value, at: steps.dropFirst(), in: &members[position].value) else { return false }
            tree = .object(members)
        case .element(let index):
            guard tree.isNull || tree.elements != nil else { return false }
            var elements = tree.elements ?? []
            guard index <= elements.count else { return false }
            tree = .null
            if index == elements.count { elements.append(.null) }
            guard put(value, at: steps.dropFirst(), in: &elements[index]) else { return false }
            tree = .array(elements)
        }
        return true
    }

    /// `$.name[0]['other name']`; nil for anything else.
    private static func steps(_ path: String) -> [Step]? {
        var rest = Array(path.utf8)[...]
        guard rest.popFirst() == UInt8(ascii: "$") else { return nil }
        var steps: [Step] = []
        while let opening = rest.popFirst() {
            if opening == UInt8(ascii: ".") {
                let name = rest.prefix { $0 != UInt8(ascii: ".") && $0 != ASCII.leftBracket }
                guard !name.isEmpty else { return nil }
                steps.append(.member(String(decoding: name, as: UTF8.self)))
                rest = rest[name.endIndex...]
                continue
            }
            guard opening == ASCII.leftBracket, let first = rest.first else { return nil }
            if first == UInt8(ascii: "'") || first == ASCII.quote {
                let name = rest.dropFirst().prefix { $0 != first }
                rest = rest[name.endIndex...].dropFirst()
                steps.append(.member(String(decoding: name, as: UTF8.self)))
            } else {
                let digits = rest.prefix { ASCII.isDigit($0) }
                guard let index = ASCII.decimal(digits.span) else { return nil }
                rest = rest[digits.endIndex...]
                steps.append(.element(index))
            }
            guard rest.popFirst() == ASCII.rightBracket else { return nil }
        }
        return steps
    }

    private static func copy(_ bytes: Span<UInt8>) -> [UInt8] { bytes.withUnsafeBufferPointer { Array($0) } }
}
