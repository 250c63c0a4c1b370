import SluiceBytes
import SluiceStreams

/// One step of a route's chain: what is asked of whom. All but the last are collected, the last one streams.
public struct StepSpec: Sendable {
    public struct Message: Sendable {
        public enum Role: String, Sendable, CaseIterable { case system, user, assistant }
        public var role: Role
        public var content: PromptTemplate
    }

    /// By which later steps refer to it.
    public var name: String
    /// As on a route.
    public var upstreams: [Route.Choice]
    public var upstreamPath: String?
    public var model: String?
    public var defaults: String?
    public var overrides: String?
    public var dropsUnsupported = false
    /// Put before the messages.
    public var system: PromptTemplate?
    /// Empty: the client's own conversation.
    public var messages: [Message] = []
    /// All must hold, else the step is left out. Globs.
    public var conditions: [(subject: TemplateSubject, glob: String)] = []
    /// Where it is not left out, it is the last.
    public var answers = false

    /// Of a route with steps that does not say.
    public static let earlyHeaders = Interval.seconds(15)
    public static let countLimit = 16
    public static let nameLimit = 64

    public init(name: String, upstreams: [Route.Choice]) { (self.name, self.upstreams) = (name, upstreams) }

    public var templates: [PromptTemplate] { (system.map { [$0] } ?? []) + messages.map(\.content) }
}
