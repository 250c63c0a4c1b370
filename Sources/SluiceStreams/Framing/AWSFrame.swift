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

    /// nil: the headers are not what their lengths say, or do not say what the message is.
    @_lifetime(copy headers, copy payload)
    init?(headers: Span<UInt8>, payload: Span<UInt8>) {
        var (messageType, type, message): (Range<Int>?, Range<Int>?, Range<Int>?)
        var reader = AWSHeaderReader(headers)
        while let header = reader.next() {
            guard header.isString else { continue }
            let name = headers.extracting(header.name)
            if ASCII.equal(name, ":message-type") {
                messageType = header.value
            } else if ASCII.equal(name, ":event-type") || ASCII.equal(name, ":exception-type") {
                type = header.value
            } else if ASCII.equal(name, ":error-code") {
                type = header.value
            } else if ASCII.equal(name, ":error-message") {
                message = header.value
            }
        }
        guard reader.isValid, let messageType else { return nil }
        self.messageType = headers.extracting(messageType)
        self.type = headers.extracting(type ?? 0..<0)
        errorMessage = headers.extracting(message ?? 0..<0)
        self.payload = payload
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
        guard let nameCount = number(1), nameCount > 0, let name = take(nameCount), let type = number(1),
            let count = valueCount(type), let value = take(count)
        else { return nil }
        isValid = true
        return Header(name: name, value: value, isString: type == 7)
    }

    private mutating func valueCount(_ type: Int) -> Int? {
        switch type {
        case 0, 1: 0  // true, false
        case 2: 1
        case 3: 2
        case 4: 4
        case 5, 8: 8  // an integer, a time
        case 6, 7: number(2)  // bytes, text
        case 9: 16
        default: nil
        }
    }

    @inline(__always)
    private mutating func number(_ count: Int) -> Int? {
        guard bytes.count &- position >= count else { return nil }
        var value = 0
        for _ in 0..<count {
            value = value << 8 | Int(bytes[unchecked: position])
            position &+= 1
        }
        return value
    }

    @inline(__always)
    private mutating func take(_ count: Int) -> Range<Int>? {
        let start = position
        guard bytes.count &- start >= count else { return nil }
        position = start &+ count
        return Range(uncheckedBounds: (start, position))
    }
}
