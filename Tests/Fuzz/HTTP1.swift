import SluiceBytes
import SluiceHTTP

/// HTTP/1.1 messages of clients and upstreams: nothing traps, ranges lie inside the bytes shown, and a network that cuts
/// the bytes elsewhere changes nothing.
@_cdecl("LLVMFuzzerTestOneInput")
public func fuzz(_ start: UnsafePointer<UInt8>?, _ count: Int) -> CInt {
    guard let input = FuzzInput(start, count) else { return 0 }
    let isRequest = input.variant & 1 == 0
    var limits = isRequest ? HTTP1Limits() : HTTP1Limits.upstream
    if input.variant & 2 != 0 {
        limits = HTTP1Limits(
            headBytes: 96, fields: 3, targetBytes: 24, chunkExtensionBytes: 8, side: isRequest ? .client : .upstream)
    }
    // The first response of a connection answers this, the later ones GET.
    let first = input.variant & 4 == 0 ? "GET" : "HEAD"
    let traces = [input.whole, input.halves].map { pieces in
        isRequest ? requests(pieces, limits) : responses(pieces, limits, first: first)
    }
    requireEqual(traces[0].lines, traces[1].lines, isRequest ? "requests" : "responses")
    return 0
}

private func requests(_ pieces: [[UInt8]], _ limits: HTTP1Limits) -> Trace {
    var trace = Trace()
    var parser = HTTP1RequestParser(limits: limits)
    do throws(HTTPError) {
        for piece in pieces {
            var offset = 0
            while true {
                let before = offset
                let event = try parser.next(piece.span, at: &offset)
                if case .needMore = event { break }
                trace.note(event, piece, before..<offset) { "\($0.method) \($0.target) \($0.authority) \($0.version)" }
                if case .head(let head, _) = event { trace.note(head.fields) }
                if case .head = event { trace.add("\(parser.keepsAlive) \(parser.expectsContinue)") }
            }
            require(offset == piece.count, "needMore takes everything")
        }
        try parser.finish()
    } catch {
        trace.end("\(error) \(error.requestStatus)")
        // Only `finish` says that, when the connection is gone anyway.
        if error != .truncated { refusesMore(&parser) }
    }
    return trace
}

/// A parser that threw takes nothing more.
private func refusesMore(_ parser: inout HTTP1RequestParser) {
    let more = Array("GET / HTTP/1.1\r\nHost: a\r\n\r\n".utf8)
    var offset = 0
    require((try? parser.next(more.span, at: &offset)) == nil, "a parser that threw is used again")
}

private func responses(_ pieces: [[UInt8]], _ limits: HTTP1Limits, first: String) -> Trace {
    var trace = Trace()
    var parser = HTTP1ResponseParser(limits: limits)
    var method = first
    do throws(HTTPError) {
        for piece in pieces {
            var offset = 0
            while true {
                if parser.isIdle {
                    parser.begin(requestMethod: method)
                    method = "GET"
                }
                let before = offset
                let event = try parser.next(piece.span, at: &offset)
                if case .needMore = event { break }
                trace.note(event, piece, before..<offset) { "\($0.status)" }
                if case .head(let head, _) = event { trace.note(head.fields) }
                if case .head = event { trace.add("\(parser.keepsAlive)") }
            }
            require(offset == piece.count, "needMore takes everything")
        }
        trace.end("closed \(try parser.finish())")
    } catch {
        trace.end("\(error)")
        // Only `finish` says that, when the connection is gone anyway.
        if error != .truncated { require(!parser.keepsAlive, "a connection is used again after an error") }
    }
    return trace
}

/// What a parser said, one line for each thing; the runs of one body are joined.
private struct Trace {
    private(set) var lines: [String] = []
    private var body: [UInt8] = []

    mutating func note<Head>(
        _ event: HTTP1Event<Head>, _ piece: [UInt8], _ taken: Range<Int>, _ describe: (Head) -> String
    ) {
        switch event {
        case .needMore: break
        case .head(let head, let length): add("\(describe(head)) \(length)")
        case .interim(let status): add("interim \(status)")
        case .body(let range):
            require(!range.isEmpty, "a run of body bytes has bytes")
            let isInside = taken.lowerBound <= range.lowerBound && range.upperBound <= taken.upperBound
            require(isInside, "a body outside its input")
            body += piece[range]
        case .end: end("end")
        }
    }

    mutating func note(_ fields: HeaderFields) {
        for index in 0..<fields.count { add("\(bytes(fields.name(at: index))): \(bytes(fields.value(at: index)))") }
    }

    mutating func add(_ line: String) { lines.append(line) }

    mutating func end(_ line: String) {
        if !body.isEmpty { add("body \(body)") }
        body = []
        add(line)
    }

    /// As numbers: text would hide bytes that are not UTF-8.
    private func bytes(_ span: Span<UInt8>) -> [UInt8] { span.withUnsafeBufferPointer { Array($0) } }
}
