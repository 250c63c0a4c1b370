import SluiceBytes
import SluiceHTTP
import Testing

/// What a parser said about some bytes, as text that tests compare. Runs of one body are joined: where a network cut them
/// is not part of their meaning.
struct HTTP1Trace: Equatable, CustomStringConvertible {
    private(set) var lines: [String] = []
    private(set) var error: HTTPError?
    private var body: [UInt8] = []

    var description: String { (lines + (error.map { ["\($0)"] } ?? [])).joined(separator: "\n") }

    /// Feeds `wire` in parts that end at `cuts`, then the end of input.
    static func requests(
        _ wire: [UInt8], cuts: [Int] = [], limits: HTTP1Limits = HTTP1Limits(), finishing: Bool = true
    ) -> HTTP1Trace {
        var trace = HTTP1Trace()
        var parser = HTTP1RequestParser(limits: limits)
        do throws(HTTPError) {
            for part in parts(of: wire, cuts) {
                var offset = part.lowerBound
                let seen = wire.span.extracting(0..<part.upperBound)
                while try trace.note(parser.next(seen, at: &offset), seen, Self.describe) {}
                #expect(offset == part.upperBound, "needMore takes everything")
            }
            if finishing { try parser.finish() }
        } catch {
            trace.error = error
        }
        return trace
    }

    /// The same for responses to `methods`, one after the other.
    static func responses(
        _ wire: [UInt8], to methods: [String] = ["GET"], cuts: [Int] = [], limits: HTTP1Limits = .upstream
    ) -> HTTP1Trace {
        var trace = HTTP1Trace()
        var parser = HTTP1ResponseParser(limits: limits)
        var waiting = methods[...]
        do throws(HTTPError) {
            for part in parts(of: wire, cuts) {
                var offset = part.lowerBound
                let seen = wire.span.extracting(0..<part.upperBound)
                repeat {
                    if parser.isIdle, let method = waiting.popFirst() { parser.begin(requestMethod: method) }
                } while try trace.note(parser.next(seen, at: &offset), seen, Self.describe)
            }
            if try parser.finish() { trace.end() }
        } catch {
            trace.error = error
        }
        return trace
    }

    private static func parts(of wire: [UInt8], _ cuts: [Int]) -> [Range<Int>] {
        let borders = [0] + cuts + [wire.count]
        return zip(borders, borders.dropFirst()).map { $0..<$1 }
    }

    /// Returns false at `.needMore`.
    private mutating func note<Head>(
        _ event: HTTP1Event<Head>, _ input: Span<UInt8>, _ describe: (Head, BodyLength) -> String
    ) -> Bool {
        switch event {
        case .needMore: return false
        case .head(let head, let length): lines.append(describe(head, length))
        case .interim(let status): lines.append("interim \(status)")
        case .body(let range): for index in range { body.append(input[index]) }
        case .end: end()
        }
        return true
    }

    private mutating func end() {
        if !body.isEmpty { lines.append("body " + String(decoding: body, as: UTF8.self)) }
        body = []
        lines.append("end")
    }

    static func describe(_ head: RequestHead, _ length: BodyLength) -> String {
        "\(head.method) \(head.target) @\(head.authority) \(head.version) \(length)" + describe(head.fields)
    }

    static func describe(_ head: ResponseHead, _ length: BodyLength) -> String {
        "\(head.status) \(length)" + describe(head.fields)
    }

    static func describe(_ fields: HeaderFields) -> String {
        (0..<fields.count).map { " [\(fields.nameString(at: $0)): \(fields.valueString(at: $0))]" }.joined()
    }
}
