import SluiceBytes
import SluiceConfig

/// Configurations: no text traps the reader; one that is refused is told at least one fault, each in a place that exists; one that is
/// taken is taken again, and shows no secret.
@_cdecl("LLVMFuzzerTestOneInput")
public func fuzz(_ start: UnsafePointer<UInt8>?, _ count: Int) -> CInt {
    guard let input = FuzzInput(start, count) else { return 0 }
    checkTemplate(input.bytes)
    let environment = ["A": "value", "EMPTY": "", "CANARY": "canary-7f3a"]
    // YAML breaks lines at CR, NEL, LS and PS too: no more lines than bytes.
    let lines = input.bytes.count + 1
    do throws(ConfigurationFaults) {
        let configuration = try ConfigurationLoader.parse(
            text: input.bytes, file: "/nonexistent/fuzz.yaml", environment: environment)
        require(!configuration.listeners.isEmpty, "a configuration without a listener")
        for upstream in configuration.upstreams {
            require(!"\(upstream.apiKey as Any)".contains("canary-7f3a"), "a key is shown")
        }
    } catch {
        require(!error.issues.isEmpty, "refused without a fault")
        for issue in error.issues {
            require(issue.line >= 0 && issue.column >= 0, "a fault before the file")
            require(issue.line <= lines, "a fault in line \(issue.line) of \(lines)")
            require(!issue.message.isEmpty, "a fault without words")
        }
    }
    return 0
}
