import SluiceStreams
import Testing

@Suite struct PromptTemplateTests {
    private func template(_ text: String) throws(TemplateFault) -> PromptTemplate {
        try PromptTemplate(text) { (name) throws(TemplateFault) in
            if name == "HOME" { return "/root" }
            if name == "EVIL" { return "${input.topic} $$ ${HOME}" }
            throw TemplateFault("no \(name)")
        }
    }

    private func expanded(_ text: String, limit: Int = 1000, _ values: [String: String]) throws
        -> PromptTemplate.Expansion
    {
        try template(text).expand(limitBytes: limit) { values["\($0)"].map { Array($0.utf8) } }
    }

    private static let texts: [(String, String)] = [
        ("", ""), ("plain", "plain"), ("${input.topic}", "cats"), ("a${input.topic}b${input.topic}c", "acatsbcatsc"),
        ("${input.empty}", ""), ("${input.empty:-none}", "none"), ("${input.absent:-none}", "none"),
        ("${input.absent:-}", ""), ("${input.topic:-none}", "cats"), ("${input.absent:-a:-b}", "a:-b"),
        ("$${input.topic}", "${input.topic}"), ("$$", "$"), ("$$$${", "$${"), ("$5 $", "$5 $"),
        ("$$${input.topic}", "$cats"),
        ("${HOME}/${input.topic}", "/root/cats"), ("{input.topic}", "{input.topic}"),
        ("${steps.a-1.output}: ${steps.a-1.finish_reason}", "said: stop"), ("${steps.a-1.output.x[0].y}", "deep"),
        ("${input}", "whole"), ("${input[0]}", "first"), ("${input.a b.ü}", "odd"), ("ü${input.topic}🚀", "ücats🚀"),
    ]

    @Test(arguments: texts)
    func filledIn(text: String, expected: String) throws {
        let values = [
            "input": "whole", "input.topic": "cats", "input.empty": "", "input[0]": "first", "input.a b.ü": "odd",
            "steps.a-1.output": "said", "steps.a-1.finish_reason": "stop", "steps.a-1.output.x[0].y": "deep",
        ]
        #expect(try expanded(text, values) == .text(Array(expected.utf8)))
    }

    @Test func whatIsFilledInIsNeverLookedAtAgain() throws {
        let evil = "${input.secret} $${x} $$ ${steps.a.output} ${HOME} }"
        let values = ["input.topic": evil, "input.secret": "no", "steps.a.output": evil]
        let text = "[${input.topic}|${steps.a.output}|${EVIL}|${input.none:-$x}]"
        let expected = "[\(evil)|\(evil)|${input.topic} $$ ${HOME}|$x]"
        #expect(try expanded(text, values) == .text(Array(expected.utf8)))
        // Nor does the end of one value and the beginning of the next make a place.
        let halves = ["input.a": "$", "input.b": "{input.secret}", "input.secret": "no"]
        #expect(try expanded("${input.a}${input.b}", halves) == .text(Array("${input.secret}".utf8)))
    }

    @Test func whatTheEnvironmentHasIsNotShown() throws {
        var shown = ""
        dump(try template("x ${HOME} ${input}"), to: &shown)
        #expect(shown.contains("x ${HOME} ${input}") && !shown.contains("/root"))
    }

    @Test func whatIsMissingIsNamed() throws {
        #expect(try expanded("${input.a.b[2]}", [:]) == .missing(.input(["a", "b", "2"])))
        #expect("\(TemplateSubject.input(["a", "b", "2"]))" == "input.a.b[2]")
        #expect(try expanded("x ${steps.a.output.title}", [:]) == .missing(.output(step: "a", ["title"])))
    }

    @Test func growsToItsLimitAndNoFurther() throws {
        let values = ["input.x": String(repeating: "x", count: 10)]
        let text = String(repeating: "${input.x}", count: 10)
        #expect(try expanded(text, limit: 99, values) == .tooLarge)
        #expect(try expanded(text, limit: 100, values) == .text(Array(repeating: 0x78, count: 100)))
        #expect(try expanded("12345", limit: 4, [:]) == .tooLarge)
        #expect(try expanded("${input.none:-12345}", limit: 4, [:]) == .tooLarge)
    }

    private static let forms = "input.PATH, steps.NAME.output, steps.NAME.output.PATH or steps.NAME.finish_reason"

    /// `…`: all that there is.
    private static let wrong: [(String, String)] = [
        ("${", "'${' without '}'"), ("a ${input.x", "'${' without '}'"), ("${}", "no "), ("${NOBODY}", "no NOBODY"),
        ("${input.}", "'input.' is none of …"), ("${input..a}", "'input..a' is none of …"),
        ("${input.a[}", "'input.a[' is none of …"), ("${input.a[x]}", "'input.a[x]' is none of …"),
        ("${input.a[-1]}", "'input.a[-1]' is none of …"), ("${input.a[]}", "'input.a[]' is none of …"),
        ("${input.a]}", "'input.a]' is none of …"), ("${input a}", "'input a' is none of …"),
        ("${steps}", "'steps' is none of …"), ("${steps.}", "'steps.' is none of …"),
        ("${steps.a}", "'steps.a' is none of …"), ("${steps.a.text}", "'steps.a.text' is none of …"),
        ("${steps.a.finish_reason.x}", "'steps.a.finish_reason.x' is none of …"),
        ("${input.prompt.x}", "'input.prompt.x': input.prompt is a text, and has no members"),
        ("${input.system[0]}", "'input.system[0]': input.system is a text, and has no members"),
        ("${inputs.x}", "'${inputs.x}' begins neither with input nor with steps"),
        ("${step.a.output}", "'${step.a.output}' begins neither with input nor with steps"),
        ("${.a}", "'${.a}' begins neither with input nor with steps"),
        ("${input.x:?no}", "'${input.x:?no}': only :-, and a text that stands there instead, may follow a name"),
        ("${input.x:}", "'${input.x:}': only :-, and a text that stands there instead, may follow a name"),
    ]

    @Test(arguments: wrong)
    func wrongForms(text: String, message: String) {
        let told = message.replacing("…", with: Self.forms)
        #expect(throws: TemplateFault(told)) { try template(text) }
    }

    @Test func pathsAreNotTooDeep() throws {
        #expect(throws: TemplateFault.self) { try template("${input\(String(repeating: ".a", count: 17))}") }
        _ = try template("${input\(String(repeating: ".a", count: 16))}")
    }
}
