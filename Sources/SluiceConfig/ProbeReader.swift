/// Whether `sluice doctor` may ask for probe streams, and how many at a time.
public struct ProbeSpec: Sendable, Equatable {
    /// Asked of everybody, if there is one.
    public var key: Secret?
    /// In the whole process; others are refused with 429.
    public var concurrent: Int

    public init(key: Secret? = nil, concurrent: Int = 32) { (self.key, self.concurrent) = (key, concurrent) }
}

extension ConfigurationReader {
    /// `probe: off | on | {key: …, concurrent: 32}`; nil is off.
    func readProbe(_ root: inout Section) -> ProbeSpec? {
        guard let node = root.value("probe") else { return nil }
        guard case .mapping = node.kind else { return root.bool("probe") == true ? ProbeSpec() : nil }
        guard var section = Section(node, path: root.path(of: "probe"), context: context) else { return nil }
        var spec = ProbeSpec()
        if let node = section.value("key") {
            spec.key = Scalars.secret(node, section.path(of: "key"), context)
            if spec.key?.revealed.isEmpty == true {
                context.report(node, section.path(of: "key"), "must not be empty")
            }
        }
        spec.concurrent = section.integer("concurrent", 1...1024) ?? spec.concurrent
        section.finish()
        return spec
    }
}

/// The schema of `probe`.
enum ProbeSchema {
    static let own = SchemaBuilder.Key(
        "probe",
        SchemaBuilder.either(
            SchemaBuilder.flag,
            SchemaBuilder.mapping([
                .init("key", SchemaBuilder.secret, "Asked of who wants one: sluice doctor --probe-key."),
                .init("concurrent", SchemaBuilder.number(1...1024), "Streams at a time, of the whole process."),
            ])),
        "Lets sluice doctor ask for streams of its own, on any path. Default: off.")
}
