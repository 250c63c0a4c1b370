import SluiceBytes
import SluiceConfig
import SluiceStreams

/// A span as OTLP has it (opentelemetry/proto/trace/v1/trace.proto). Times are nanoseconds since 1970.
struct TraceSpan: Equatable {
    enum Kind: Int { case `internal` = 1, server, client }
    enum Value: Equatable {
        case text(String)
        case integer(Int)
        case real(Double)
        case flag(Bool)
        case texts([String])
    }
    struct Attribute: Equatable {
        let name: String
        let value: Value
    }
    struct Event: Equatable {
        let time: UInt64
        let name: String
        var attributes: [Attribute] = []
    }

    var traceID = ""
    var spanID = ""
    /// "" for the root.
    var parentID = ""
    var state = ""
    /// W3C's flags; bit 8 says that bit 9 counts, and that one that the parent is another process's.
    var flags: UInt32 = 0
    var name = ""
    var kind = Kind.internal
    var start: UInt64 = 0
    var end: UInt64 = 0
    var attributes: [Attribute] = []
    var droppedAttributes = 0
    var events: [Event] = []
    var droppedEvents = 0
    /// nil: unset. Else the span failed, and why.
    var failure: String?

    mutating func set(_ name: String, _ value: String) { if !value.isEmpty { add(name, .text(value)) } }
    mutating func set(_ name: String, _ value: Int?) { if let value { add(name, .integer(value)) } }
    mutating func set(_ name: String, _ value: Double?) { if let value { add(name, .real(value)) } }
    mutating func add(_ name: String, _ value: Value) { attributes.append(Attribute(name: name, value: value)) }

    /// Leaves out and cuts what is over the limits of one span.
    mutating func apply(_ limits: TracingSpec.Limits) {
        if attributes.count > limits.attributes {
            droppedAttributes = attributes.count - limits.attributes
            attributes.removeLast(droppedAttributes)
        }
        if events.count > limits.events {
            droppedEvents = events.count - limits.events
            events.removeLast(droppedEvents)
        }
        guard let length = limits.valueLength else { return }
        attributes = attributes.map { Attribute(name: $0.name, value: $0.value.cut(to: length)) }
    }
}

extension TraceSpan.Value {
    fileprivate func cut(to length: Int) -> TraceSpan.Value {
        switch self {
        case .text(let text): .text(String(text.prefix(length)))
        case .texts(let texts): .texts(texts.map { String($0.prefix(length)) })
        default: self
        }
    }
}
