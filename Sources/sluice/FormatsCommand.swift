import SluiceConfig
import SluiceStreams

/// `sluice formats`: what can be spoken on either side, for people or as JSON.
enum FormatsCommand {
    static func run(_ arguments: [String]) throws(CommandOptions.Fault) -> Int32 {
        let options = try CommandOptions(arguments, flags: ["json"])
        if let extra = options.operands.first { throw CommandOptions.Fault("formats takes no '\(extra)'") }
        let text = options.has("json") ? String(decoding: json().serialized(), as: UTF8.self) + "\n" : table()
        return CommandLineTool.say(text)
    }

    // MARK: - For people

    private static func table() -> String {
        let requests = RequestFormat.allCases.map { [$0.rawValue, $0.summary.description] }
        let dialects = Dialect.allCases.map {
            [$0.rawValue, $0.framing?.rawValue ?? "any", $0.contentType?.description ?? "any", $0.summary.description]
        }
        let responses = StreamFormat.allCases.map {
            [
                $0.rawValue, $0.contentType?.description ?? "the upstream's", keepalive($0) ?? "none",
                $0.summary.description,
            ]
        }
        return """
            Requests of clients (routes: request, convert --request --from)

            \(lines([["NAME", "BODY"]] + requests))
            Streams of upstreams (upstreams: dialect, convert --from)

            \(lines([["NAME", "FRAMING", "CONTENT TYPE", "WHOSE"]] + dialects))
            Streams for clients (routes: response, convert --to; a route may also say auto)

            \(lines([["NAME", "CONTENT TYPE", "KEEPALIVE", "FOR"]] + responses))

            """
    }

    private static func lines(_ rows: [[String]]) -> String {
        let columns = rows.first?.count ?? 0
        let widths = (0..<columns).map { column in rows.map { $0[column].count }.max() ?? 0 }
        return rows.map { row in
            let cells = row.enumerated().map { column, cell in
                column == columns - 1 ? cell : cell + String(repeating: " ", count: widths[column] - cell.count)
            }
            return "  " + cells.joined(separator: "  ") + "\n"
        }.joined()
    }

    private static func keepalive(_ format: StreamFormat) -> String? {
        switch format.keepalive {
        case .comment: "comment"
        case .ping: "event: ping"
        case .none: nil
        }
    }

    // MARK: - For machines

    private static func json() -> JSONValue {
        let requests = RequestFormat.allCases.map {
            ["name": JSONValue($0.rawValue), "summary": text($0.summary)] as JSONValue
        }
        let dialects = Dialect.allCases.map { dialect -> JSONValue in
            [
                "name": JSONValue(dialect.rawValue), "framing": optional(dialect.framing?.rawValue),
                "content_type": optional(dialect.contentType?.description),
                "path": optional(dialect.path?.description), "summary": text(dialect.summary),
            ]
        }
        let responses = StreamFormat.allCases.map { format -> JSONValue in
            [
                "name": JSONValue(format.rawValue), "framing": optional(format.framing?.rawValue),
                "content_type": optional(format.contentType?.description), "keepalive": optional(keepalive(format)),
                "summary": text(format.summary),
            ]
        }
        return ["requests": .array(requests), "dialects": .array(dialects), "responses": .array(responses)]
    }

    private static func text(_ text: StaticString) -> JSONValue { JSONValue(text.description) }
    private static func optional(_ text: String?) -> JSONValue { text.map { JSONValue($0) } ?? .null }
}
