import SluiceBytes
import SluiceHTTP
import Testing

@testable import SluiceConfig
@testable import SluiceProxy

@Suite struct TraceSamplerTests {
    private let trace = "0af7651916cd43dd8448eb211c80319c"
    private let parent = "b7ad6b7169203331"

    @Test(arguments: [
        ("00", true, "01"), ("01", false, "00"), ("03", false, "02"), ("02", true, "03"), ("ff", true, "03"),
        ("fc", false, "00"),
    ]) func flagsKeepWhatIsKnownOfThem(flags: String, isSampled: Bool, wanted: String) throws {
        let context = try #require(TraceContext("00-\(trace)-\(parent)-\(flags)"))
        #expect(context.sampled(isSampled).flags == wanted)
    }

    @Test func stateIsOneList() {
        var fields = HeaderFields()
        #expect(TraceContext.state(fields) == "")
        fields.append("tracestate", "a=1,b=2")
        fields.append("Other", "x")
        fields.append("TraceState", "c=3")
        #expect(TraceContext.state(fields) == "a=1,b=2,c=3")
        fields.append("tracestate", String(repeating: "d", count: 512))
        #expect(TraceContext.state(fields) == "")
    }

    @Test func samplersFollowTheirParentsOrNot() {
        func sampler(_ isParentBased: Bool, _ ratio: Double) -> TraceSampler {
            TraceSampler(.init(isParentBased: isParentBased, ratio: ratio))
        }
        let high = String(repeating: "f", count: 32)
        for parent in [true, false] as [Bool] {
            #expect(sampler(true, 0).samples(high, parent: parent) == parent)
            #expect(sampler(false, 1).samples(high, parent: parent))
            #expect(!sampler(false, 0).samples(high, parent: parent))
        }
        #expect(sampler(true, 1).samples(high, parent: nil))
        #expect(!sampler(true, 0).samples(String(repeating: "0", count: 32), parent: nil))
    }

    /// As OpenTelemetry's own samplers have it: the trace's last 63 bits of 64 decide, so that all keep the same traces.
    @Test func aShareIsThatOfTheIds() {
        let half = TraceSampler(.init(isParentBased: false, ratio: 0.5))
        let before = String(repeating: "f", count: 16)
        #expect(half.samples(before + "7fffffffffffffff", parent: nil))
        #expect(!half.samples(before + "8000000000000000", parent: nil))
        var random = SplitMix64(seed: 1)
        let tenth = TraceSampler(.init(isParentBased: false, ratio: 0.1))
        let kept = (0..<10_000).count { _ in
            let digits = String(random.next() | 1 << 63, radix: 16)
            let low = String(random.next(), radix: 16)
            return tenth.samples(digits + String(repeating: "0", count: 16 - low.count) + low, parent: nil)
        }
        #expect(kept > 850 && kept < 1150)
    }
}
