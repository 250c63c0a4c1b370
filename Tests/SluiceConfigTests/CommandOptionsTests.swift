import SluiceBytes
import SluiceConfig
import SluiceStreams
import Testing

@Suite struct CommandOptionsTests {
    private func parse(_ arguments: String...) throws(CommandOptions.Fault) -> CommandOptions {
        try CommandOptions(
            arguments, values: ["from", "chunk", "speed", "interval", "config"], flags: ["json"], short: ["c": "config"]
        )
    }

    private func fault(_ body: () throws(CommandOptions.Fault) -> Void) -> String? {
        do throws(CommandOptions.Fault) {
            try body()
            return nil
        } catch {
            return error.message
        }
    }

    @Test func takesArgumentsApart() throws {
        let options = try parse("a", "--from", "gemini", "--json", "-c", "x=y", "--chunk=7", "-", "--", "--b")
        #expect(options.operands == ["a", "-", "--b"])
        #expect(options.has("json") && !options.has("from"))
        #expect(options.text("config") == "x=y" && options.text("speed") == nil)
        #expect(try options.choice("from", Dialect.self) == .gemini)
        #expect(try options.count("chunk") == 7)
        #expect(try parse("--from", "a", "--from=b").text("from") == "b")
        #expect(try parse("--chunk=").text("chunk") == "")
    }

    @Test func readsValues() throws {
        #expect(try parse("--interval", "250ms").interval("interval") == .milliseconds(250))
        #expect(try parse("--interval", "0").interval("interval") == .zero)
        #expect(try parse("--speed", "0.5").factor("speed") == 0.5)
        #expect(try parse().factor("speed") == nil)
        #expect(try parse("--from", "x").required("from") == "x")
    }

    @Test(arguments: [
        (["--form", "x"], "there is no option '--form' (did you mean '--from'?)"),
        (["--form=x"], "there is no option '--form=x' (did you mean '--from'?)"),
        (["-x"], "there is no option '-x'"),
        (["--json=yes"], "there is no option '--json=yes' (did you mean '--json'?)"),
        (["--chunk"], "--chunk needs a value"),
        (["-c"], "-c needs a value"),
    ])
    func refusesWhatItDoesNotKnow(arguments: [String], message: String) {
        let found = fault { () throws(CommandOptions.Fault) in
            _ = try CommandOptions(
                arguments, values: ["from", "chunk", "config"], flags: ["json"], short: ["c": "config"])
        }
        #expect(found == message)
    }

    @Test func refusesValuesThatAreNone() {
        typealias Fault = CommandOptions.Fault
        #expect(
            fault { () throws(Fault) in _ = try parse("--chunk", "0").count("chunk") }
                == "--chunk: '0' is not a whole number above 0")
        #expect(
            fault { () throws(Fault) in _ = try parse("--speed", "inf").factor("speed") }
                == "--speed: 'inf' is not a number above 0")
        #expect(
            fault { () throws(Fault) in _ = try parse("--interval", "soon").interval("interval") }
                == "--interval: 'soon' is not a duration such as 250ms, 15s, 10m or 0")
        #expect(
            fault { () throws(Fault) in _ = try parse("--from", "raw").choice("from", Dialect.self, excluding: [.raw])
            }?
            .contains("text, auto") == true)
        #expect(fault { () throws(Fault) in _ = try parse().required("from") } == "--from is required")
    }
}
