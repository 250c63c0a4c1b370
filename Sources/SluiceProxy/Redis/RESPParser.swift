import SluiceBytes

/// What Redis says: one value of RESP, version 2 of the Redis serialization protocol.
enum RESPValue: Sendable, Equatable {
    /// A status such as `OK`.
    case simple(String)
    /// `OOM command not allowed …`: the first word is the kind.
    case error(String)
    case integer(Int)
    case bulk([UInt8])
    case array([RESPValue])
    /// A null bulk string or a null array.
    case null
}

/// What is no RESP, or more of it than anybody asked for. The connection that said it is of no more use.
enum RESPError: Error, Sendable, Equatable, CustomStringConvertible {
    case malformed(String)
    case limit(Limit)

    var description: String {
        switch self {
        case .malformed(let what): what
        case .limit(let limit): limit.description
        }
    }
}

/// Bytes of a Redis server into values, wherever they are cut. Pure; what is kept of an unfinished value is bounded, and nothing
/// is set aside on the server's word alone. One that threw is finished.
struct RESPParser {
    struct Limits: Sendable {
        /// A status, an error, a number or a length.
        var lineBytes = Limit("redis_line_bytes", 16 << 10)
        var bulkBytes = Limit("redis_bulk_bytes", 1 << 20)
        var elements = Limit("redis_array_elements", 4096)
        /// Arrays within arrays.
        var depth = Limit("redis_array_depth", 8)
        /// One reply with all that is in it.
        var replyBytes = Limit("redis_reply_bytes", 8 << 20)
    }

    private enum State {
        case line
        /// So many bytes of a bulk string are still to come.
        case bulk(Int)
        /// Behind one: CR and LF, of which the first has come or not.
        case bulkEnd(hasReturn: Bool)
    }
    private struct Frame {
        var missing: Int
        var elements: [RESPValue] = []
    }
    private let limits: Limits
    private var state = State.line
    private var line: [UInt8] = []
    private var bulk: [UInt8] = []
    private var frames: [Frame] = []
    /// Of the reply that has begun.
    private var replyBytes = 0

    init(limits: Limits = Limits()) { self.limits = limits }

    /// Whether a value has begun and not ended.
    var isInside: Bool {
        if case .line = state { return !line.isEmpty || !frames.isEmpty }
        return true
    }

    /// Appends to `values` those that `bytes` complete.
    mutating func feed(_ bytes: Span<UInt8>, into values: inout [RESPValue]) throws(RESPError) {
        var position = 0
        while position < bytes.count {
            switch state {
            case .line: try takeLine(bytes, &position, &values)
            case .bulk(let missing): takeBulk(bytes, &position, missing)
            case .bulkEnd(let hasReturn):
                guard bytes[position] == (hasReturn ? ASCII.lf : ASCII.cr) else {
                    throw .malformed("a string longer than was said")
                }
                position += 1
                guard hasReturn else {
                    state = .bulkEnd(hasReturn: true)
                    continue
                }
                state = .line
                let taken = bulk
                bulk = []
                complete(.bulk(taken), &values)
            }
        }
    }

    private mutating func takeBulk(_ bytes: Span<UInt8>, _ position: inout Int, _ missing: Int) {
        let count = min(missing, bytes.count - position)
        bytes.extracting(position..<position + count).withUnsafeBufferPointer { bulk.append(contentsOf: $0) }
        position += count
        state = count == missing ? .bulkEnd(hasReturn: false) : .bulk(missing - count)
    }

    private mutating func takeLine(
        _ bytes: Span<UInt8>, _ position: inout Int, _ values: inout [RESPValue]
    ) throws(RESPError) {
        let end = ASCII.firstIndex(of: ASCII.lf, in: bytes, from: position)
        let stop = end ?? bytes.count
        guard stop - position <= limits.lineBytes.value - line.count else { throw .limit(limits.lineBytes) }
        bytes.extracting(position..<stop).withUnsafeBufferPointer { line.append(contentsOf: $0) }
        guard let end else {
            position = stop
            return
        }
        position = end + 1
        try count(line.count + 1)
        guard line.popLast() == ASCII.cr, !line.contains(ASCII.cr) else {
            throw .malformed("a line that does not end in CR and LF")
        }
        try readLine(&values)
        line.removeAll(keepingCapacity: true)
    }

    private mutating func count(_ bytes: Int) throws(RESPError) {
        replyBytes += bytes
        guard replyBytes <= limits.replyBytes.value else { throw .limit(limits.replyBytes) }
    }

    private mutating func readLine(_ values: inout [RESPValue]) throws(RESPError) {
        guard let kind = line.first else { throw .malformed("an empty line") }
        switch kind {
        case UInt8(ascii: "+"): complete(.simple(text), &values)
        case UInt8(ascii: "-"): complete(.error(text), &values)
        case UInt8(ascii: ":"): complete(.integer(try number()), &values)
        case UInt8(ascii: "$"):
            guard let length = try length(limits.bulkBytes) else { return complete(.null, &values) }
            try count(length + 2)
            state = length == 0 ? .bulkEnd(hasReturn: false) : .bulk(length)
        case UInt8(ascii: "*"):
            guard let length = try length(limits.elements) else { return complete(.null, &values) }
            guard length > 0 else { return complete(.array([]), &values) }
            guard frames.count < limits.depth.value else { throw .limit(limits.depth) }
            frames.append(Frame(missing: length))
        default: throw .malformed("a value of an unknown type")
        }
    }

    private var text: String { String(decoding: line.dropFirst(), as: UTF8.self) }

    private func number() throws(RESPError) -> Int {
        let isNegative = line.count > 1 && line[1] == UInt8(ascii: "-")
        guard let value = ASCII.decimal(line.span.extracting((isNegative ? 2 : 1)...)) else {
            throw .malformed("a number that is none")
        }
        return isNegative ? -value : value
    }

    /// nil: null.
    private func length(_ limit: Limit) throws(RESPError) -> Int? {
        let value = try number()
        if value == -1 { return nil }
        guard value >= 0 else { throw .malformed("a negative length") }
        guard value <= limit.value else { throw .limit(limit) }
        return value
    }

    /// A value is whole, and with it perhaps the arrays that it is the last element of.
    private mutating func complete(_ value: RESPValue, _ values: inout [RESPValue]) {
        var value = value
        while let last = frames.indices.last {
            frames[last].elements.append(value)
            frames[last].missing -= 1
            guard frames[last].missing == 0 else { return }
            value = .array(frames.removeLast().elements)
        }
        values.append(value)
        replyBytes = 0
    }
}
