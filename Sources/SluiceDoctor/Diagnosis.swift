import SluiceBytes
import SluiceStreams

extension Diagnosis {
    /// All that the evidence says.
    public init(_ evidence: Evidence, of url: DoctorURL) {
        self.init()
        guard let main = evidence[.main] else {
            isUnreachable = true
            return
        }
        if let reason = Self.whyUnreachable(main, url) {
            isUnreachable = true
            findings = [reason]
            return
        }
        path.append(Self.transport(main.transport))
        add(Self.certificate(main.transport, evidence))
        add(Self.version(main, url))
        if let probes = ProbeDiagnosis(evidence) {
            probes.diagnose(into: &self)
        } else if let id = main.field("sluice-probe"), id != main.plan?.id {
            add(
                Finding(
                    "cache", .harmful, "the answer was made for another request: something on the way caches streams",
                    advice: Advice.cache.lines(Hop.recognise([main]))))
        } else {
            ForeignDiagnosis(main).diagnose(into: &self)
        }
    }

    private static func whyUnreachable(_ main: Observation, _ url: DoctorURL) -> Finding? {
        guard let head = main.head else {
            var advice: [String] = []
            let text = Words.ending(main.ending)
            if text.containsText("certificate") {
                advice = ["--ca FILE names whom to trust; --insecure looks past it, to examine the rest"]
            }
            if main.ending == .timedOut { advice = ["--timeout TIME waits longer"] }
            return Finding("reach", .harmful, "\(url.authority) gives no answer: \(text)", advice: advice)
        }
        if let target = main.field("location"), (300..<400).contains(head.status) {
            return Finding(
                "redirect", .harmful,
                "status \(head.status) sends clients to \(target): many follow no redirect of a POST, and each costs a round trip",
                advice: DoctorURL(target).map { ["sluice doctor \(Printable.quoted($0.description))"] } ?? [])
        }
        guard !(200..<300).contains(head.status) else { return nil }
        let words = JSONValue.parse(main.opening)?.errorMessage.map { ": \($0)" } ?? ""
        return Finding(
            "status", .harmful, "there is no stream there: status \(head.status)\(words)",
            advice: advice(head.status, main))
    }

    private static func advice(_ status: Int, _ main: Observation) -> [String] {
        if main.field("sluice-probe") == "refused" {
            return status == 403
                ? ["--probe-key KEY: `probe.key` of Sluice's configuration"] : ["try again in a moment"]
        }
        switch status {
        case 401, 403:
            return [
                "--header 'Authorization: Bearer …' for the route's own stream, or `probe: on` in Sluice's configuration"
            ]
        case 404, 405:
            return ["`probe: on` in Sluice's configuration, or a route's path with --method, --header and --data"]
        case 502, 503, 504: return ["something on the way answers, but does not reach the server behind it"]
        default: return []
        }
    }

    private static func transport(_ transport: Observation.Transport) -> String {
        var text = "\(transport.version)"
        if let version = transport.tlsVersion { text += " over \(version)" }
        text += " to \(transport.peer)"
        if let certificate = transport.certificate {
            text += ", certificate \(certificate.subject) of \(certificate.issuer)"
        }
        return text
    }

    private static func certificate(_ transport: Observation.Transport, _ evidence: Evidence) -> Finding? {
        guard let certificate = transport.certificate else { return nil }
        let days = certificate.daysLeft
        let text = days < 0 ? "has expired" : "holds for \(Words.count(days, "more day"))"
        if !evidence.isVerified {
            return Finding("certificate", .warning, "the certificate was not checked (--insecure); it \(text)")
        }
        return Finding(
            "certificate", days < 14 ? .warning : .well, "the certificate is trusted and \(text)",
            measured: [(key: "days_left", value: JSONValue(days))])
    }

    private static func version(_ main: Observation, _ url: DoctorURL) -> Finding? {
        if main.transport.version == "HTTP/2" { return Finding("http", .well, "clients get HTTP/2") }
        guard url.isTLS else { return nil }
        return Finding(
            "http", .warning,
            "clients get HTTP/1.1 only: a browser opens six connections to a host, and the seventh stream waits",
            advice: Advice.http2.lines(Hop.recognise([main])))
    }
}

extension String {
    func containsText(_ text: String) -> Bool {
        let (own, other) = (Array(utf8), Array(text.utf8))
        guard !other.isEmpty, own.count >= other.count else { return other.isEmpty }
        return (0...(own.count - other.count)).contains { own[$0..<($0 + other.count)].elementsEqual(other) }
    }
}
