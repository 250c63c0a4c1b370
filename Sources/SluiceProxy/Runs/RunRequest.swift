import SluiceBytes
import SluiceHTTP
import SluiceStreams

/// A run of a workflow as a client asks for it: what stands in its body besides `input`.
struct RunRequest: Equatable, Sendable {
    /// Why it is none; told to the client with status 400.
    struct Refusal: Error, Equatable {
        let message: String
    }
    /// Of a workflow, in bytes.
    private static let nameLimit = 512

    var isOutputOnly = false
    /// The client waits for the output; else it asks for it later, by the task's name.
    var waits = true
    /// What `input.stream` says.
    var streamWish: Bool?

    /// Reads a body, which a form may be too: `json` is then what it would be in JSON. `type`: the `Content-Type`.
    static func read(
        _ body: [UInt8], type: String?
    ) throws(Refusal) -> (run: RunRequest, json: JSONValue, isForm: Bool) {
        let type = type ?? ""
        let essence = String(type.prefix { $0 != ";" && $0 != " " }).lowercased()
        let json: JSONValue
        switch essence {
        case "application/json": json = try readJSON(body)
        case "application/x-www-form-urlencoded", "multipart/form-data": json = try readForm(body, type, essence)
        case "": throw Refusal(message: "Missing or empty Content-Type header.")
        default: throw Refusal(message: "Unsupported Content-Type: \(essence.prefix(100))")
        }
        return (try RunRequest(json), json, essence != "application/json")
    }

    private static func readJSON(_ body: [UInt8]) throws(Refusal) -> JSONValue {
        guard let json = JSONValue.parse(body) else { throw invalid("it is not JSON") }
        guard json.members != nil else { throw invalid("it is no JSON object") }
        return json
    }

    private static func readForm(_ body: [UInt8], _ type: String, _ essence: String) throws(Refusal) -> JSONValue {
        guard body.count <= FormFields.bodyLimit else {
            throw invalid("a form is larger than \(FormFields.bodyLimit) bytes")
        }
        do throws(FormFields.Fault) {
            if essence != "multipart/form-data" {
                let text = String(decoding: body, as: UTF8.self)
                return try FormFields.object(RequestTarget("/?" + text).queryItems())
            }
            let boundary = FormFields.parameter("boundary", of: type) ?? ""
            return try FormFields.object(try FormFields.multipart(body, boundary: boundary))
        } catch {
            throw invalid(error.message)
        }
    }

    private static func invalid(_ why: String) -> Refusal { Refusal(message: "Invalid request body: \(why)") }

    init(_ json: JSONValue) throws(Refusal) {
        if let name = json["workflow_id"], !name.isNull, name.string == nil {
            throw Self.invalid("workflow_id: is no string")
        }
        if json["workflow_id"]?.string?.isLonger(than: Self.nameLimit) == true {
            throw Self.invalid("workflow_id: is longer than \(Self.nameLimit) bytes")
        }
        isOutputOnly = try Self.flag("output_only", json) ?? false
        waits = try Self.flag("wait_for_completion", json) ?? true
        streamWish = (json["input"]?["stream"]).flatMap(Self.flag)
        // Neither a WebSocket nor a call back is offered here: their one way to hear of a task is to ask.
        if try Self.flag("subscribe_task", json) == true {
            throw Refusal(
                message: waits
                    ? "subscribe_task=true requires wait_for_completion=false"
                    : "subscribe_task is not supported; ask for the task")
        }
        if let url = json["callback_url"], !url.isNull {
            throw Refusal(
                message: waits
                    ? "callback_url requires wait_for_completion=false"
                    : "callback_url is not supported; ask for the task")
        }
        if isOutputOnly, !waits {
            throw Refusal(message: "output_only=true requires wait_for_completion=true.")
        }
    }

    init() {}

    private static func flag(_ name: String, _ json: JSONValue) throws(Refusal) -> Bool? {
        guard let value = json[name], !value.isNull else { return nil }
        guard let flag = flag(value) else { throw invalid("\(name): is neither true nor false") }
        return flag
    }

    /// Forms, and people, say it in words.
    static func flag(_ value: JSONValue) -> Bool? {
        guard value.string?.isLonger(than: 5) != true else { return nil }
        return value.bool ?? word(value.string?.text ?? value.number ?? "")
    }

    static func word(_ text: String) -> Bool? {
        switch text.lowercased() {
        case "true", "1", "yes", "on", "y", "t": true
        case "false", "0", "no", "off", "n", "f": false
        default: nil
        }
    }

    static let needsOutputOnly =
        "Streaming output requires output_only=true. Retry with {\"output_only\": true} in the request body."
}

/// A run whose workflow is known.
struct Run: Sendable, Equatable {
    let answer: RunAnswer
    let wantsStream: Bool
    /// Its output is kept, and asked for later.
    let isTask: Bool
}

extension UpstreamRequest.Expectation {
    /// What is kept of a task is read by those who ask for it.
    mutating func take(_ run: Run) {
        wantsStream = run.wantsStream || run.isTask
        if run.isTask { format = .ndjson } else { self.run = run.answer }
    }
}
