import SluiceBytes

/// Header fields in the order they came, names compared without case (RFC 9110 §5).
///
/// One byte array holds all names and values; the fields are ranges into it, which is also how a parsed head is taken over:
/// copied once, as it stands. Values are bytes: obs-text is carried, never decoded. Names keep the case they came in.
public struct HeaderFields: Sendable, Equatable {
    private struct Field: Sendable {
        var nameStart: Int32
        var nameCount: Int32
        var valueStart: Int32
        var valueCount: Int32
    }
    private var bytes: [UInt8] = []
    private var fields: [Field] = []

    public init() {}

    /// Takes a copy of `section`, whose fields `append(name:value:)` then names by their ranges.
    init(section: Span<UInt8>) {
        bytes = section.withUnsafeBufferPointer { Array($0) }
        fields.reserveCapacity(min(section.count / 24 + 1, 128))
    }

    public static func == (left: HeaderFields, right: HeaderFields) -> Bool {
        left.count == right.count
            && left.fields.indices.allSatisfy {
                ASCII.equal(left.name(at: $0), right.name(at: $0))
                    && ASCII.equal(left.value(at: $0), right.value(at: $0))
            }
    }

    public var count: Int { fields.count }
    /// Bytes held, at least those of all names and values.
    public var byteCount: Int { bytes.count }

    /// Makes room for `bytes` bytes of names and values, and for as many fields as those usually hold.
    public mutating func reserve(bytes count: Int) {
        bytes.reserveCapacity(count)
        fields.reserveCapacity(min(count / 32 + 1, 128))
    }

    public mutating func append(name: Span<UInt8>, value: Span<UInt8>) {
        let start = bytes.count
        name.withUnsafeBufferPointer { bytes.append(contentsOf: $0) }
        value.withUnsafeBufferPointer { bytes.append(contentsOf: $0) }
        let middle = start + name.count
        append(name: start..<middle, value: middle..<(middle + value.count))
    }

    public mutating func append(_ other: HeaderFields) {
        for index in other.fields.indices { append(name: other.name(at: index), value: other.value(at: index)) }
    }

    /// A field that stands in `bytes` already.
    mutating func append(name: Range<Int>, value: Range<Int>) {
        fields.append(
            Field(
                nameStart: Int32(truncatingIfNeeded: name.lowerBound), nameCount: Int32(truncatingIfNeeded: name.count),
                valueStart: Int32(truncatingIfNeeded: value.lowerBound),
                valueCount: Int32(truncatingIfNeeded: value.count)))
    }

    public mutating func append(_ name: String, _ value: String) {
        let isDone: Void?? = name.utf8.withContiguousStorageIfAvailable { name in
            value.utf8.withContiguousStorageIfAvailable { value in append(name: name.span, value: value.span) }
        }
        if case .some(.some) = isDone { return }
        append(name: Array(name.utf8).span, value: Array(value.utf8).span)
    }

    @_lifetime(borrow self)
    public func name(at index: Int) -> Span<UInt8> {
        let field = fields[index]
        return bytes.span.extracting(Int(field.nameStart)..<Int(field.nameStart &+ field.nameCount))
    }

    @_lifetime(borrow self)
    public func value(at index: Int) -> Span<UInt8> {
        let field = fields[index]
        return bytes.span.extracting(Int(field.valueStart)..<Int(field.valueStart &+ field.valueCount))
    }

    public func nameString(at index: Int) -> String { Self.string(name(at: index)) }
    public func valueString(at index: Int) -> String { Self.string(value(at: index)) }

    /// The first field of that name (given in lower case).
    public func firstIndex(of name: StaticString) -> Int? {
        fields.indices.first { ASCII.equalFolded(self.name(at: $0), name) }
    }

    public func contains(_ name: StaticString) -> Bool { firstIndex(of: name) != nil }

    /// The first value of that name (given in lower case), or nil.
    public func first(_ name: StaticString) -> String? { firstIndex(of: name).map { valueString(at: $0) } }

    /// The first value of a name known only at run time, compared without case.
    public func first(named name: String) -> String? {
        let wanted = name.utf8.map(ASCII.lowercase)
        let found = fields.indices.first { index in
            let candidate = self.name(at: index)
            guard candidate.count == wanted.count else { return false }
            for position in candidate.indices where ASCII.lowercase(candidate[position]) != wanted[position] {
                return false
            }
            return true
        }
        return found.map { valueString(at: $0) }
    }

    /// Keeps the fields for which `isIncluded` holds; order and bytes of the kept ones stay.
    public func filtered(_ isIncluded: (Int) -> Bool) -> HeaderFields {
        var kept = HeaderFields()
        for index in fields.indices where isIncluded(index) {
            kept.append(name: name(at: index), value: value(at: index))
        }
        return kept
    }

    private static func string(_ bytes: Span<UInt8>) -> String {
        bytes.withUnsafeBufferPointer { String(decoding: $0, as: UTF8.self) }
    }
}
