import SluiceBytes

/// Spans → `ExportTraceServiceRequest` in protobuf's wire format: tags and lengths as varints, messages inside messages. All of it is
/// written into one array.
enum OTLPProtobuf {
    static func request(_ spans: [TraceSpan], _ resource: [TraceSpan.Attribute], version: String) -> [UInt8] {
        var out = ProtobufWriter()
        out.bytes.reserveCapacity(1024 + spans.count * 768)
        out.message(1) { group in
            group.message(1) { source in
                for attribute in resource { source.message(1) { write(attribute, to: &$0) } }
            }
            group.message(2) { scopeSpans in
                scopeSpans.message(1) { scope in
                    scope.text(1, "sluice")
                    scope.text(2, version)
                }
                for span in spans { scopeSpans.message(2) { write(span, to: &$0) } }
            }
        }
        return out.bytes
    }

    private static func write(_ span: TraceSpan, to out: inout ProtobufWriter) {
        out.hex(1, span.traceID)
        out.hex(2, span.spanID)
        out.text(3, span.state)
        out.hex(4, span.parentID)
        out.text(5, span.name)
        out.number(6, span.kind.rawValue)
        out.fixed(7, span.start)
        out.fixed(8, span.end)
        for attribute in span.attributes { out.message(9) { write(attribute, to: &$0) } }
        out.number(10, span.droppedAttributes)
        for event in span.events {
            out.message(11) { out in
                out.fixed(1, event.time)
                out.text(2, event.name)
                for attribute in event.attributes { out.message(3) { write(attribute, to: &$0) } }
            }
        }
        out.number(12, span.droppedEvents)
        if let failure = span.failure {
            out.message(15) { status in
                status.text(2, failure)
                status.number(3, 2)
            }
        }
        out.fixed(16, span.flags)
    }

    private static func write(_ attribute: TraceSpan.Attribute, to out: inout ProtobufWriter) {
        out.text(1, attribute.name)
        out.message(2) { write(attribute.value, to: &$0) }
    }

    /// One of several: written also where it is the type's default, or nobody would know which one it is.
    private static func write(_ value: TraceSpan.Value, to out: inout ProtobufWriter) {
        switch value {
        case .text(let text): out.run(1, text)
        case .flag(let flag): out.varint(2, flag ? 1 : 0)
        case .integer(let number): out.varint(3, UInt64(bitPattern: Int64(number)))
        case .real(let number): out.fixedField(4, number.bitPattern)
        case .texts(let texts):
            out.message(5) { list in
                for text in texts { list.message(1) { $0.run(1, text) } }
            }
        }
    }
}

/// A message under construction. Fields that have their type's default are left out, as proto3 has it.
struct ProtobufWriter {
    var bytes: [UInt8] = []

    mutating func text(_ field: Int, _ text: String) { if !text.isEmpty { run(field, text) } }
    mutating func number(_ field: Int, _ value: Int) {
        if value != 0 { varint(field, UInt64(bitPattern: Int64(value))) }
    }
    mutating func fixed(_ field: Int, _ value: UInt64) { if value != 0 { fixedField(field, value) } }

    mutating func fixed(_ field: Int, _ value: UInt32) {
        guard value != 0 else { return }
        tag(field, 5)
        for shift in stride(from: UInt32(0), to: 32, by: 8) { bytes.append(UInt8(truncatingIfNeeded: value >> shift)) }
    }

    mutating func fixedField(_ field: Int, _ value: UInt64) {
        tag(field, 1)
        for shift in stride(from: UInt64(0), to: 64, by: 8) { bytes.append(UInt8(truncatingIfNeeded: value >> shift)) }
    }

    mutating func run(_ field: Int, _ text: String) {
        tag(field, 2)
        append(UInt64(text.utf8.count))
        bytes.append(contentsOf: text.utf8)
    }

    /// Two digits a byte; what is no such text is left out.
    mutating func hex(_ field: Int, _ digits: String) {
        guard !digits.isEmpty, digits.utf8.count % 2 == 0, digits.utf8.allSatisfy({ ASCII.hexValue($0) != nil }) else {
            return
        }
        tag(field, 2)
        append(UInt64(digits.utf8.count / 2))
        var high: UInt8?
        for value in digits.utf8.lazy.compactMap(ASCII.hexValue) {
            if let first = high { bytes.append(first << 4 | value) }
            high = high == nil ? value : nil
        }
    }

    mutating func varint(_ field: Int, _ value: UInt64) {
        tag(field, 0)
        append(value)
    }

    /// Most are shorter than 128 bytes, so one is kept free for the length; the longer ones move by what is missing.
    mutating func message(_ field: Int, _ body: (inout ProtobufWriter) -> Void) {
        tag(field, 2)
        let start = bytes.count
        bytes.append(0)
        body(&self)
        let count = bytes.count - start - 1
        guard count >= 0x80 else {
            bytes[start] = UInt8(truncatingIfNeeded: count)
            return
        }
        var length = ProtobufWriter()
        length.append(UInt64(count))
        bytes.replaceSubrange(start...start, with: length.bytes)
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
