import SluiceBytes
import SluiceConfig
import SluiceHTTP
import SluiceIO

/// The settings by which traces are made and sent. Immutable, shared by all workers and the exporter.
final class Tracing: Sendable {
    let spec: TracingSpec
    let sampler: TraceSampler
    /// nil where the endpoint is spoken to in clear text.
    let tls: TLSContext?
    let nameServers: [String]
    /// Files that the environment names and that cannot be used.
    let warnings: [String]

    /// Files that cannot be read keep nobody from starting: the exports will say what is wrong.
    init(_ spec: TracingSpec, nameServers: [String]) {
        (self.spec, self.nameServers, sampler) = (spec, nameServers, TraceSampler(spec.sampler))
        guard spec.endpoint.isTLS else {
            (tls, warnings) = (nil, [])
            return
        }
        var (made, problems): (TLSContext?, [String]) = (nil, [])
        do throws(TLSError) {
            made = try TLSContext.client(Self.options(spec.tls))
        } catch {
            problems.append("the certificates of the traces' endpoint cannot be used, the system's are: \(error)")
            var plain = ClientTLSSpec()
            (plain.serverName, plain.verify) = (spec.tls.serverName, spec.tls.verify)
            do throws(TLSError) {
                made = try TLSContext.client(Self.options(plain))
            } catch {
                problems.append("\(error)")
            }
        }
        (tls, warnings) = (made, problems)
    }

    private static func options(_ spec: ClientTLSSpec) -> TLSClientOptions {
        TLSClientOptions(
            caPath: spec.ca, verify: spec.verify, certificatePath: spec.certificate, keyPath: spec.privateKey,
            alpn: ["http/1.1"])
    }

    /// Where an exchange stands: in the trace that it comes with, or in one of its own.
    func join(_ incoming: TraceContext?, _ makeID: () -> String) -> TraceContext {
        guard let incoming else {
            let id = makeID() + makeID()
            return TraceContext(traceID: id, parentID: "", isSampled: sampler.samples(id, parent: nil), isRandom: true)
        }
        return incoming.sampled(sampler.samples(incoming.traceID, parent: incoming.isSampled))
    }

    /// For a log.
    var place: String {
        let url = spec.endpoint
        return url.unixPath.map { "unix:" + $0 } ?? "\(url.isTLS ? "https" : "http")://\(url.authority)\(spec.path)"
    }
}

/// Which traces are kept (OpenTelemetry's `always_on`, `always_off`, `traceidratio` and their parent-based kinds).
struct TraceSampler: Sendable {
    private let isParentBased: Bool
    /// Of 2^63: ids whose last 63 bits of 64 are below are kept, so that all who sample by the same share keep the same traces.
    private let bound: UInt64

    init(_ spec: TracingSpec.Sampler) {
        isParentBased = spec.isParentBased
        let whole = UInt64(1) << 63
        bound = spec.ratio >= 1 ? whole : UInt64(max(0, spec.ratio) * Double(whole))
    }

    /// `parent`: whether who comes with the trace has sampled it; nil: it begins here.
    func samples(_ traceID: String, parent: Bool?) -> Bool {
        if isParentBased, let parent { return parent }
        guard let low = UInt64(traceID.suffix(16), radix: 16) else { return false }
        return low >> 1 < bound
    }
}
