import SluiceBytes
import SluiceHTTP
import SluiceStreams
import Testing

@testable import SluiceProxy

/// Runs of workflows as clients ask for them.
@Suite struct RunRequestTests {
    private func read(_ body: String, _ type: String? = "application/json") throws(RunRequest.Refusal) -> (
        run: RunRequest, json: JSONValue, isForm: Bool
    ) {
        try RunRequest.read(Array(body.utf8), type: type)
    }

    private func refusal(_ body: String, _ type: String? = "application/json") -> String {
        do throws(RunRequest.Refusal) {
            _ = try read(body, type)
            return ""
        } catch {
            return error.message
        }
    }

    @Test func flags() throws {
        #expect(try read(#"{"input":1}"#).run == RunRequest())
        #expect(RunRequest().waits && !RunRequest().isOutputOnly)
        let run = try read(#"{"output_only":"yes","wait_for_completion":1,"input":{"stream":"False"}}"#).run
        #expect(run.isOutputOnly && run.waits && run.streamWish == false)
        #expect(try read(#"{"wait_for_completion":false,"output_only":null}"#).run.waits == false)
        #expect(try read(#"{"input":{"stream":"perhaps"}}"#).run.streamWish == nil)
        #expect(try read("{}", "Application/JSON; charset=utf-8").isForm == false)
    }

    @Test func refusals() {
        #expect(refusal("{", "application/json") == "Invalid request body: it is not JSON")
        #expect(refusal("[]") == "Invalid request body: it is no JSON object")
        #expect(refusal("x", "text/plain; charset=utf-8") == "Unsupported Content-Type: text/plain")
        #expect(refusal("x", nil) == "Missing or empty Content-Type header.")
        #expect(
            refusal(#"{"output_only":true,"wait_for_completion":false}"#)
                == "output_only=true requires wait_for_completion=true.")
        #expect(
            refusal(#"{"output_only":"perhaps"}"#) == "Invalid request body: output_only: is neither true nor false")
        #expect(refusal(#"{"workflow_id":7}"#) == "Invalid request body: workflow_id: is no string")
        #expect(refusal(#"{"callback_url":"http://x"}"#) == "callback_url requires wait_for_completion=false")
        #expect(
            refusal(#"{"callback_url":"http://x","wait_for_completion":false}"#)
                == "callback_url is not supported; ask for the task")
        #expect(
            refusal(#"{"subscribe_task":true,"wait_for_completion":false}"#)
                == "subscribe_task is not supported; ask for the task")
    }

    private let nested = #"{"workflow_id":"w","input":{"prompt":"a & b","more":{"n":"1"}},"output_only":"true"}"#

    @Test func forms() throws {
        let form = try read(
            "workflow_id=w&input[prompt]=a+%26+b&input%5Bmore%5D%5Bn%5D=1&output_only=true",
            "application/x-www-form-urlencoded")
        #expect(form.isForm && form.run.isOutputOnly && form.json == JSONValue.parse(nested))
        // What was a text gives way, and the last of several counts.
        #expect(try read("a=1&a[b]=2&a[b]=3", "application/x-www-form-urlencoded").json == ["a": ["b": "3"]])
        let deep = "a" + String(repeating: "[x]", count: 20) + "=1"
        #expect(refusal(deep, "application/x-www-form-urlencoded").contains("is no name"))
        #expect(refusal(String(repeating: "a=1&", count: 1001), "application/x-www-form-urlencoded").contains("1000"))
    }

    private func multipart(_ fields: [(String, String)]) -> String {
        fields.map { "--B\r\nContent-Disposition: form-data; \($0)\r\n\r\n\($1)\r\n" }.joined() + "--B--\r\n"
    }

    @Test func multiparts() throws {
        let type = "multipart/form-data; boundary=B"
        let body = multipart([
            ("name=\"workflow_id\"", "w"), ("name=\"input[prompt]\"", "a & b"), ("name=\"input[more][n]\"", "1"),
            ("name=output_only", "true"),
        ])
        #expect(try read(body, type).json == JSONValue.parse(nested))
        #expect(try read("preamble\r\n" + body, "multipart/form-data; boundary=\"B\"").json == JSONValue.parse(nested))
        #expect(try read(multipart([("name=\"a\"", "x\r\n--Y\r\n")]), type).json == ["a": "x\r\n--Y\r\n"])
        #expect(try read("--B--\r\n", type).json == .object([]))
        #expect(
            refusal(multipart([("name=\"input[image]\"; filename=\"a.png\"", "x")]), type)
                == "Invalid request body: 'input[image]' is a file, which no workflow here takes")
        #expect(refusal(body, "multipart/form-data").contains("boundary"))
        #expect(refusal(body, "multipart/form-data; boundary=C").contains("boundary"))
        #expect(refusal("--B\r\nContent-Type: a\r\n\r\nx\r\n--B--", type).contains("no name"))
        #expect(refusal("--B\r\n\r\nx\r\n--B--", type).contains("no head"))
        #expect(refusal("--B\r\nx", type).contains("does not end"))
        // Whatever the length at which it stops: an answer, and no trap.
        let bytes = Array(body.utf8)
        for end in 0..<(bytes.count - 4) {
            #expect(throws: RunRequest.Refusal.self) { try RunRequest.read(Array(bytes[..<end]), type: type) }
        }
    }
}

/// What a form may cost at most.
@Suite struct FormBoundTests {
    private let urlencoded = "application/x-www-form-urlencoded"

    private func refusal(_ body: String, _ type: String = "multipart/form-data; boundary=B") -> String {
        do throws(RunRequest.Refusal) {
            _ = try RunRequest.read(Array(body.utf8), type: type)
            return ""
        } catch {
            return error.message
        }
    }

    private func part(_ head: String) -> String { "--B\r\n\(head)\r\n\r\nv\r\n--B--\r\n" }
    private func filled(_ count: Int) -> String { String(repeating: "x", count: count) }

    @Test func bodies() {
        let told = "Invalid request body: a form is larger than 1048576 bytes"
        #expect(refusal("a=" + filled((1 << 20) - 2), urlencoded).isEmpty)
        #expect(refusal("a=" + filled((1 << 20) - 1), urlencoded) == told)
        let part = part("Content-Disposition: form-data; name=a")
        #expect(refusal(filled((1 << 20) - part.utf8.count) + part).isEmpty)
        #expect(refusal(filled((1 << 20) + 1 - part.utf8.count) + part) == told)
        // JSON has no bound of its own.
        #expect(refusal(#"{"a":"\#(filled(1 << 20))"}"#, "application/json").isEmpty)
    }

    @Test func heads() {
        let field = "Content-Disposition: form-data; name=a\r\nX: "
        let room = 8192 - field.utf8.count
        #expect(refusal(part(field + filled(room))).isEmpty)
        let told = "Invalid request body: a part's head is longer than 8192 bytes"
        #expect(refusal(part(field + filled(room + 1))) == told)
        #expect(refusal("--B\r\n\(filled(9000))\r\n--B--\r\n") == told)
        #expect(refusal(part("\(String(repeating: "a\r\n", count: 2000))content-disposition: x; NAME=\"a\"")).isEmpty)
    }

    @Test func names() throws {
        let told = "Invalid request body: a field's name is longer than 1024 bytes"
        for count in [1024, 1025] {
            let name = filled(count)
            #expect(refusal("\(name)=1", urlencoded) == (count > 1024 ? told : ""))
            #expect(refusal(part("Content-Disposition: form-data; name=\"\(name)\"")) == (count > 1024 ? told : ""))
        }
        let file = part("Content-Disposition: form-data; name=\(filled(1025)); filename=a")
        #expect(refusal(file) == told)
        // Of a name that is all brackets, no more is split off than is needed to refuse it.
        #expect(refusal(String(repeating: "a[", count: 512) + "=1", urlencoded).contains("is no name"))
        let deepest = "a" + String(repeating: "[x]", count: 15)
        #expect(refusal("\(deepest)=1", urlencoded).isEmpty)
        #expect(refusal("\(deepest)[x]=1", urlencoded).contains("is no name"))
        // Keys are bytes: é and e with an accent are two.
        let read = try RunRequest.read(Array("\u{E9}=1&e\u{301}=2&\u{E9}=3".utf8), type: urlencoded)
        #expect(read.json.members?.map(\.value) == ["3", "2"])
    }

    @Test func workflowsNames() {
        func told(_ count: Int) -> String { refusal(#"{"workflow_id":"\#(filled(count))"}"#, "application/json") }
        #expect(told(512).isEmpty && told(513) == "Invalid request body: workflow_id: is longer than 512 bytes")
    }
}

@Suite struct TaskRecordTests {
    private let lines =
        #"{"text":"Hé"}"# + "\n" + #"{"text":"no","choice":1}"# + "\n{}\nx\n" + #"{"refusal":"llo\n"}"# + "\n"

    private func read(_ text: String, cutAt cut: Int) -> (String, TaskRecord.Outcome?) {
        let bytes = Array(text.utf8)
        var record = TaskRecord(limitBytes: 1 << 10)
        var out = ByteQueue()
        record.read(bytes.span.extracting(0..<cut)) { out.append($0) }
        record.read(bytes.span.extracting(cut..<bytes.count)) { out.append($0) }
        return (out.withUnsafeBytes { String(decoding: $0, as: UTF8.self) }, record.outcome)
    }

    private static let ends: [(String, TaskRecord.Outcome?)] = [
        ("{\"done\":true,\"finish_reason\":\"stop\"}\n", .completed),
        ("{\"error\":{\"message\":\"no\",\"type\":\"x\"}}\n", .failed("no")),
        ("{\"error\":7}\n", .failed("the task failed")),
        ("{\"cancelled\":true}\n", .cancelled),
        ("", nil),
        ("{\"done\":true}", nil),
        ("{\"done\":true}\n{\"text\":\"more\"}\n{\"cancelled\":true}\n", .completed),
    ]

    @Test(arguments: ends)
    func whatBecameOfIt(end: String, wanted: TaskRecord.Outcome?) {
        for cut in 0...(lines + end).utf8.count {
            let (text, outcome) = read(lines + end, cutAt: cut)
            #expect(text == "Héllo\n" && outcome == wanted, "cut at \(cut)")
        }
    }

    @Test func aLineHasABound() {
        let (text, outcome) = read(#"{"text":""# + String(repeating: "x", count: 2000), cutAt: 5)
        #expect(text.isEmpty && outcome == .failed("the task's record is damaged"))
    }
}

@Suite struct TaskIDTests {
    @Test func isAULID() {
        #expect(
            TaskID.make(milliseconds: 0, random: [UInt8](repeating: 0, count: 10)) == String(repeating: "0", count: 26))
        #expect(
            TaskID.make(milliseconds: (1 << 48) - 1, random: [UInt8](repeating: 255, count: 10))
                == "7" + String(repeating: "Z", count: 25))
        // The specification's own example of a time.
        #expect(TaskID.make(milliseconds: 1_469_918_176_385, random: [UInt8](0..<10)).hasPrefix("01ARYZ6S41"))
        #expect(TaskID.make(milliseconds: 0, random: [0, 0, 0, 0, 1, 0, 0, 0, 0, 2]).hasSuffix("0000000100000002"))
        let made = Set((0..<1000).map { _ in TaskID.make() })
        #expect(made.count == 1000 && made.allSatisfy(TaskID.isID))
        #expect(!TaskID.isID("NOPE") && !TaskID.isID(String(repeating: "U", count: 26)))
    }
}
