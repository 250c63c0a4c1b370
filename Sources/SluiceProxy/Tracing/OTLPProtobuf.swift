import SluiceBytes

/// Spans → `ExportTraceServiceRequest` in protobuf's wire format: tags and lengths as varints, messages inside messages.
enum OTLPProtobuf {
    static func request(_ spans: [TraceSpan], _ resource: [TraceSpan.Attribute], version: String) -> [UInt8] {
        var scope = Message()
        scope.text(1, "sluice")
        scope.text(2, version)
        var scopeSpans = Message()
        scopeSpans.message(1, scope)
        for span in spans { scopeSpans.message(2, message(span)) }
        var source = Message()
        for attribute in resource { source.message(1, message(attribute)) }
        var resourceSpans = Message()
        resourceSpans.message(1, source)
        resourceSpans.message(2, scopeSpans)
        var request = Message()
        request.message(1, resourceSpans)
        return request.bytes
    }

    private static func message(_ span: TraceSpan) -> Message {
        var out = Message()
        out.bytes(1, hex(span.traceID))
        out.bytes(2, hex(span.spanID))
        out.text(3, span.state)
        out.bytes(4, hex(span.parentID))
        out.text(5, span.name)
        out.number(6, span.kind.rawValue)
        out.fixed(7, span.start)
        out.fixed(8, span.end)
        for attribute in span.attributes { out.message(9, message(attribute)) }
        out.number(10, span.droppedAttributes)
        for event in span.events { out.message(11, message(event)) }
        out.number(12, span.droppedEvents)
        if let failure = span.failure {
            var status = Message()
            status.text(2, failure)
            status.number(3, 2)
            out.message(15, status)
        }
        out.fixed(16, span.flags)
        return out
    }

    private static func message(_ event: TraceSpan.Event) -> Message {
        var out = Message()
        out.fixed(1, event.time)
        out.text(2, event.name)
        for attribute in event.attributes { out.message(3, message(attribute)) }
        return out
    }

    private static func message(_ attribute: TraceSpan.Attribute) -> Message {
        var out = Message()
        out.text(1, attribute.name)
        out.message(2, message(attribute.value))
        return out
    }

    /// One of several: written also where it is the type's default, or nobody would know which one it is.
    private static func message(_ value: TraceSpan.Value) -> Message {
        var out = Message()
        switch value {
        case .text(let text): out.run(1, Array(text.utf8))
        case .flag(let flag): out.varint(2, flag ? 1 : 0)
        case .integer(let number): out.varint(3, UInt64(bitPattern: Int64(number)))
        case .real(let number): out.fixedField(4, number.bitPattern)
        case .texts(let texts):
            var list = Message()
            for text in texts { list.message(1, message(.text(text))) }
            out.message(5, list)
        }
        return out
    }

    /// Two digits a byte; [] for what is no such text.
    static func hex(_ text: String) -> [UInt8] {
        var bytes: [UInt8] = []
        bytes.reserveCapacity(16)
        var high: UInt8?
        for digit in text.utf8 {
            guard let value = ASCII.hexValue(digit) else { return [] }
            if let first = high {
                bytes.append(first << 4 | value)
                high = nil
            } else {
                high = value
            }
        }
        return high == nil ? bytes : []
    }

    /// One message under construction. Fields that have their type's default are left out, as proto3 has it.
    private struct Message {
        var bytes: [UInt8] = []

        mutating func text(_ field: Int, _ text: String) { if !text.isEmpty { run(field, Array(text.utf8)) } }
        mutating func bytes(_ field: Int, _ value: [UInt8]) { if !value.isEmpty { run(field, value) } }
        mutating func number(_ field: Int, _ value: Int) {
            if value != 0 { varint(field, UInt64(bitPattern: Int64(value))) }
        }
        mutating func fixed(_ field: Int, _ value: UInt64) { if value != 0 { fixedField(field, value) } }

        mutating func fixed(_ field: Int, _ value: UInt32) {
            guard value != 0 else { return }
            tag(field, 5)
            for shift in stride(from: UInt32(0), to: 32, by: 8) {
                bytes.append(UInt8(truncatingIfNeeded: value >> shift))
            }
        }

        mutating func fixedField(_ field: Int, _ value: UInt64) {
            tag(field, 1)
            for shift in stride(from: UInt64(0), to: 64, by: 8) {
                bytes.append(UInt8(truncatingIfNeeded: value >> shift))
            }
        }

        mutating func message(_ field: Int, _ inner: Message) { run(field, inner.bytes) }

        mutating func run(_ field: Int, _ value: [UInt8]) {
            tag(field, 2)
            append(UInt64(value.count))
            bytes += value
        }

        mutating func varint(_ field: Int, _ value: UInt64) {
            tag(field, 0)
            append(value)
        }

        private mutating func tag(_ field: Int, _ type: Int) { append(UInt64(field << 3 | type)) }

        private mutating func append(_ value: UInt64) {
            var rest = value
            while rest >= 0x80 {
                bytes.append(UInt8(truncatingIfNeeded: rest) | 0x80)
                rest >>= 7
            }
            bytes.append(UInt8(truncatingIfNeeded: rest))
        }
    }
}
