import SluiceBytes

/// One message of an AWS event stream, its checksums found right. The spans are dead after the handler returns.
struct AWSFrame: ~Escapable {
    /// `event`, `exception` or `error`.
    let messageType: Span<UInt8>
    /// `:event-type` of an event, `:exception-type` of an exception, `:error-code` of an error.
    let type: Span<UInt8>
    /// `:error-message`; errors have no payload.
    let errorMessage: Span<UInt8>
    let payload: Span<UInt8>

    @_lifetime(copy headers, copy payload)
    init(headers: Span<UInt8>, _ places: AWSHeaderPlaces, payload: Span<UInt8>) {
        messageType = headers.extracting(places.messageType)
        type = headers.extracting(places.type)
        errorMessage = headers.extracting(places.errorMessage)
        self.payload = payload
    }
}

/// Where the headers stand that say what a message is.
struct AWSHeaderPlaces {
    private(set) var messageType = 0..<0
    private(set) var type = 0..<0
    private(set) var errorMessage = 0..<0

    /// nil: the headers are not what their lengths say, or do not say what the message is.
    init?(_ headers: Span<UInt8>) {
        var isKnown = false
        var reader = AWSHeaderReader(headers)
        while let header = reader.next() {
            guard header.isString else { continue }
            let name = headers.extracting(header.name)
            if ASCII.equal(name, ":message-type") {
                (messageType, isKnown) = (header.value, true)
            } else if ASCII.equal(name, ":event-type") || ASCII.equal(name, ":exception-type") {
                type = header.value
            } else if ASCII.equal(name, ":error-code") {
                type = header.value
            } else if ASCII.equal(name, ":error-message") {
                errorMessage = header.value
            }
        }
        guard reader.isValid, isKnown else { return nil }
    }
}

/// Walks over the headers of a frame: `u8 length, name, u8 type, value`, the value's length given by its type.
struct AWSHeaderReader: ~Escapable {
    struct Header {
        let name: Range<Int>
        let value: Range<Int>
        let isString: Bool
    }
    private let bytes: Span<UInt8>
    private var position = 0
    /// All headers until now were whole and of a type that there is.
    private(set) var isValid = true

    @_lifetime(copy bytes)
    init(_ bytes: Span<UInt8>) { self.bytes = bytes }

    /// The next header; nil at the end and at a fault.
    mutating func next() -> Header? {
        guard isValid, position < bytes.count else { return nil }
        isValid = false
        let name = position &+ 1
        let type = name &+ Int(bytes[unchecked: position])
        guard type > name, type < bytes.count, let value = value(at: type) else { return nil }
        isValid = true
        position = value.upperBound
        return Header(
            name: Range(uncheckedBounds: (name, type)), value: value, isString: bytes[unchecked: type] == Self.text)
    }

    private static let text: UInt8 = 7

    /// The value whose type stands at `place`; nil if it is not whole, or there is no such type.
    @inline(__always)
    private func value(at place: Int) -> Range<Int>? {
        var start = place &+ 1
        let count: Int
        switch bytes[unchecked: place] {
        case 6, Self.text:  // bytes, text
            guard bytes.count &- start >= 2 else { return nil }
            count = Int(bytes[unchecked: start]) << 8 | Int(bytes[unchecked: start &+ 1])
            start &+= 2
        case 0, 1: count = 0  // true, false
        case 2: count = 1
        case 3: count = 2
        case 4: count = 4
        case 5, 8: count = 8  // an integer, a time
        case 9: count = 16
        default: return nil
        }
        guard bytes.count &- start >= count else { return nil }
        return Range(uncheckedBounds: (start, start &+ count))
    }
}
