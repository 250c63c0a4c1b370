import SluiceBytes
import SluiceStreams

/// What a collector answered to one request, as far as it matters.
enum OTLPAnswer: Equatable {
    /// It has them, but for `rejected` of them.
    case taken(rejected: Int, message: String)
    /// It may take them later (429, 502, 503, 504).
    case busy(status: Int, retryAfter: Interval?)
    /// No connection, or no whole answer.
    case unreachable(String)
    /// It will never take them.
    case refused(status: Int)

    init(status: Int, isJSON: Bool, body: [UInt8], retryAfter: Interval?) {
        switch status {
        case 200..<300:
            let partial = isJSON ? Self.readJSON(body) : Self.readProtobuf(body)
            self = .taken(rejected: partial.rejected, message: String(partial.message.prefix(256)))
        case 429, 502, 503, 504: self = .busy(status: status, retryAfter: retryAfter)
        default: self = .refused(status: status)
        }
    }

    private typealias Partial = (rejected: Int, message: String)

    private static func readJSON(_ body: [UInt8]) -> Partial {
        let partial = JSONValue.parse(body)?["partialSuccess"]
        let message = partial?["errorMessage"]?.string?.text ?? ""
        switch partial?["rejectedSpans"] {
        case .number(let text)?: return (max(0, Int(text) ?? 0), message)
        case .string(let text)?: return (max(0, Int(text.text) ?? 0), message)
        default: return (0, message)
        }
    }

    /// `ExportTraceServiceResponse { partial_success = 1 { rejected_spans = 1; error_message = 2 } }`; what is no such message says nothing.
    private static func readProtobuf(_ body: [UInt8]) -> Partial {
        var result: Partial = (0, "")
        forEachField(body[...]) { field, value in
            guard field == 1, case .run(let inner) = value else { return }
            forEachField(inner) { field, value in
                switch (field, value) {
                case (1, .varint(let count)): result.rejected = Int(clamping: Int64(bitPattern: count))
                case (2, .run(let text)): result.message = String(decoding: text, as: UTF8.self)
                default: break
                }
            }
        }
        result.rejected = max(0, result.rejected)
        return result
    }

    private enum Field {
        case varint(UInt64)
        case run(ArraySlice<UInt8>)
        case other
    }

    private static func forEachField(_ bytes: ArraySlice<UInt8>, _ body: (UInt64, Field) -> Void) {
        var rest = bytes
        while !rest.isEmpty {
            guard let tag = varint(&rest) else { return }
            switch tag & 7 {
            case 0:
                guard let value = varint(&rest) else { return }
                body(tag >> 3, .varint(value))
            case 1, 5:
                let count = tag & 7 == 1 ? 8 : 4
                guard rest.count >= count else { return }
                rest = rest.dropFirst(count)
                body(tag >> 3, .other)
            case 2:
                guard let length = varint(&rest), length <= UInt64(rest.count) else { return }
                body(tag >> 3, .run(rest.prefix(Int(length))))
                rest = rest.dropFirst(Int(length))
            default: return
            }
        }
    }

    private static func varint(_ rest: inout ArraySlice<UInt8>) -> UInt64? {
        var (value, shift): (UInt64, UInt64) = (0, 0)
        while let byte = rest.popFirst() {
            guard shift < 64 else { return nil }
            value |= UInt64(byte & 0x7F) << shift
            if byte < 0x80 { return value }
            shift += 7
        }
        return nil
    }
}
