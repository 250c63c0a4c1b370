import SluiceBytes
import SluiceStreams

/// `resume` of a route.
extension ConfigurationReader {
    func readResume(_ parent: inout Section, _ route: inout Route) {
        guard let node = parent.value("resume") else { return }
        if case .scalar(let text, _) = node.kind, text == "off" || text == "false" { return }
        guard var section = Section(node, path: parent.path(of: "resume"), context: context) else { return }
        var resume = route.workflow == nil ? ResumeSpec() : .ofTasks
        if let bytes = section.size("buffer") {
            resume.bufferBytes = bytes
            if !ResumeSpec.bufferRange.contains(bytes), let node = section.value("buffer") {
                context.report(node, section.path(of: "buffer"), "must be from 4KiB to 64MiB")
            }
        }
        resume.ttl = section.duration("ttl") ?? resume.ttl
        resume.grace = section.duration("grace") ?? resume.grace
        resume.store = section.choice("store", ResumeSpec.Store.self) ?? resume.store
        section.finish()
        route.resume = resume
    }

    /// Where an answer has no name that it could be asked for by, or nobody knows how it is framed.
    func checkResume(_ request: RequestFormat, _ route: Route, _ section: inout Section) {
        guard route.resume != nil, let node = section.value("resume") else { return }
        let path = section.path(of: "resume")
        if case .prefix = route.path {
            context.report(node, path, "needs an exact path: PATH/NAME/stream is where an answer is asked for again")
        }
        if request == .passthrough {
            context.report(node, path, "a passthrough answer is its upstream's own: nobody knows where to go on in it")
        }
    }
}

enum ResumeSchema {
    private typealias Build = SchemaBuilder

    static let own = [SchemaBuilder.Key("resume", offOrMapping, "Answers that outlive a connection, to be read on.")]

    private static let keys = [
        SchemaBuilder.Key("buffer", Build.size, "Of each answer, the newest bytes are kept: 4KiB to 64MiB."),
        SchemaBuilder.Key("ttl", Build.duration, "How long it is kept after its end."),
        SchemaBuilder.Key("grace", Build.duration, "How long its upstream goes on when nobody reads any more."),
        SchemaBuilder.Key("store", Build.choice(ResumeSpec.Store.self), "Who keeps it: this process, or Redis."),
    ]

    /// `pattern` looks only at texts, `properties` only at mappings. YAML may take `off` for a flag.
    private static var offOrMapping: JSONValue {
        var value = Build.mapping(keys)
        value["type"] = ["object", "string", "boolean"]
        value["pattern"] = "^(off|false)$"
        return value
    }
}
