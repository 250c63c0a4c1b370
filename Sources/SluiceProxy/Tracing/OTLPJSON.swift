import SluiceBytes
import SluiceStreams

/// Spans → `ExportTraceServiceRequest` as JSON: protobuf's mapping, but ids in hexadecimal digits and enumerations as numbers (OTLP,
/// "JSON Protobuf Encoding").
enum OTLPJSON {
    static func request(_ spans: [TraceSpan], _ resource: [TraceSpan.Attribute], version: String) -> [UInt8] {
        let scope: JSONValue = ["name": "sluice", "version": JSONValue(version)]
        let document: JSONValue = [
            "resourceSpans": [
                [
                    "resource": ["attributes": .array(resource.map(value))],
                    "scopeSpans": [["scope": scope, "spans": .array(spans.map(value))]],
                ]
            ]
        ]
        return document.serialized()
    }

    private static func value(_ span: TraceSpan) -> JSONValue {
        var members: [(key: String, value: JSONValue)] = [
            (key: "traceId", value: JSONValue(span.traceID)), (key: "spanId", value: JSONValue(span.spanID)),
        ]
        if !span.parentID.isEmpty { members.append((key: "parentSpanId", value: JSONValue(span.parentID))) }
        if !span.state.isEmpty { members.append((key: "traceState", value: JSONValue(span.state))) }
        members += [
            (key: "flags", value: JSONValue(Int(span.flags))), (key: "name", value: JSONValue(span.name)),
            (key: "kind", value: JSONValue(span.kind.rawValue)),
            (key: "startTimeUnixNano", value: JSONValue("\(span.start)")),
            (key: "endTimeUnixNano", value: JSONValue("\(span.end)")),
            (key: "attributes", value: .array(span.attributes.map(value))),
        ]
        if span.droppedAttributes > 0 {
            members.append((key: "droppedAttributesCount", value: JSONValue(span.droppedAttributes)))
        }
        if !span.events.isEmpty { members.append((key: "events", value: .array(span.events.map(value)))) }
        if span.droppedEvents > 0 { members.append((key: "droppedEventsCount", value: JSONValue(span.droppedEvents))) }
        if let failure = span.failure {
            members.append((key: "status", value: ["message": JSONValue(failure), "code": 2]))
        }
        return .object(members)
    }

    private static func value(_ event: TraceSpan.Event) -> JSONValue {
        [
            "timeUnixNano": JSONValue("\(event.time)"), "name": JSONValue(event.name),
            "attributes": .array(event.attributes.map(value)),
        ]
    }

    private static func value(_ attribute: TraceSpan.Attribute) -> JSONValue {
        ["key": JSONValue(attribute.name), "value": value(attribute.value)]
    }

    private static func value(_ value: TraceSpan.Value) -> JSONValue {
        switch value {
        case .text(let text): ["stringValue": JSONValue(text)]
        case .flag(let flag): ["boolValue": .bool(flag)]
        case .integer(let number): ["intValue": JSONValue("\(number)")]
        case .real(let number):
            number.isFinite ? ["doubleValue": .number("\(number)")] : ["doubleValue": JSONValue("\(number)")]
        case .texts(let texts): ["arrayValue": ["values": .array(texts.map { ["stringValue": JSONValue($0)] })]]
        }
    }
}
