import SluiceBytes

/// One member of an object, where the others do not matter. nil also for text that is no object.
enum JSONMember {
    /// The raw contents of a string.
    static func string(_ name: StaticString, of json: Span<UInt8>) -> Range<Int>? {
        find(name, .string, in: json).map { $0.lowerBound + 1..<$0.upperBound - 1 }
    }

    static func object(_ name: StaticString, of json: Span<UInt8>) -> Range<Int>? { find(name, .object, in: json) }
    static func array(_ name: StaticString, of json: Span<UInt8>) -> Range<Int>? { find(name, .array, in: json) }

    /// The last one of that kind and name.
    private static func find(_ name: StaticString, _ kind: JSONScanner.Kind, in json: Span<UInt8>) -> Range<Int>? {
        var found: Range<Int>?
        var scanner = JSONScanner(json)
        guard scanner.peek() == .object, scanner.enterObject() else { return nil }
        while let key = scanner.nextKey() {
            let isFound = ASCII.equal(json.extracting(key), name) && scanner.peek() == kind
            let value = scanner.value()
            if isFound { found = value }
        }
        return scanner.isValid ? found : nil
    }
}
