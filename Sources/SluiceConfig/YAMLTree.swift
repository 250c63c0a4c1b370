import CYAML

/// A YAML document with the place of every node in it.
struct YAMLNode {
    indirect enum Kind {
        /// `isPlain`: without quotes, so that `null`, `true` and numbers mean what they say.
        case scalar(String, isPlain: Bool)
        case sequence([YAMLNode])
        case mapping([(key: YAMLNode, value: YAMLNode)])
    }
    let kind: Kind
    /// From 1.
    let line: Int
    let column: Int

    var isNull: Bool {
        guard case .scalar(let text, isPlain: true) = kind else { return false }
        return text.isEmpty || text == "~" || text == "null"
    }

    /// For messages.
    var typeName: String {
        switch kind {
        case .scalar: "a single value"
        case .sequence: "a list"
        case .mapping: "a mapping"
        }
    }
}

/// Why text is not a YAML document that Sluice takes.
struct YAMLFault: Error {
    let message: String
    let line: Int
    let column: Int
}

/// Reads one document with libyaml. Depth and size are bounded; anchors and aliases are refused, since a few lines of
/// them can stand for gigabytes.
struct YAMLReader: ~Copyable {
    private var parser = yaml_parser_t()
    private var nodes = 0
    private static let depthLimit = 32
    private static let nodeLimit = 100_000

    /// - Returns: nil for an empty document.
    static func read(_ text: [UInt8]) throws(YAMLFault) -> YAMLNode? {
        var reader = YAMLReader()
        guard yaml_parser_initialize(&reader.parser) == 1 else {
            throw YAMLFault(message: "out of memory", line: 0, column: 0)
        }
        defer { yaml_parser_delete(&reader.parser) }
        // libyaml reads from this buffer until the parser is deleted, which is why it is an allocation and no span.
        let buffer = UnsafeMutableBufferPointer<UInt8>.allocate(capacity: max(1, text.count))
        defer { buffer.deallocate() }
        _ = buffer.initialize(from: text)
        yaml_parser_set_input_string(&reader.parser, buffer.baseAddress, text.count)
        return try reader.document()
    }

    private mutating func document() throws(YAMLFault) -> YAMLNode? {
        var root: YAMLNode?
        var documents = 0
        while true {
            var event = try next()
            defer { yaml_event_delete(&event) }
            switch event.type {
            case YAML_STREAM_END_EVENT: return root
            case YAML_DOCUMENT_START_EVENT:
                documents += 1
                if documents > 1 { throw fault("a configuration is one document, here a second one begins", event) }
            case YAML_SCALAR_EVENT, YAML_SEQUENCE_START_EVENT, YAML_MAPPING_START_EVENT, YAML_ALIAS_EVENT:
                root = try node(event, depth: 0)
            default: break
            }
        }
    }

    private mutating func node(_ event: yaml_event_t, depth: Int) throws(YAMLFault) -> YAMLNode {
        nodes += 1
        guard depth < Self.depthLimit, nodes < Self.nodeLimit else {
            throw fault("nested too deep or too large", event)
        }
        let mark = event.start_mark
        let kind: YAMLNode.Kind
        switch event.type {
        case YAML_SCALAR_EVENT:
            guard event.data.scalar.anchor == nil else { throw fault("anchors are not supported", event) }
            let bytes = UnsafeBufferPointer(start: event.data.scalar.value, count: event.data.scalar.length)
            let isPlain = event.data.scalar.style == YAML_PLAIN_SCALAR_STYLE
            kind = .scalar(String(decoding: bytes, as: UTF8.self), isPlain: isPlain)
        case YAML_SEQUENCE_START_EVENT:
            guard event.data.sequence_start.anchor == nil else { throw fault("anchors are not supported", event) }
            kind = .sequence(try elements(depth: depth + 1))
        case YAML_MAPPING_START_EVENT:
            guard event.data.mapping_start.anchor == nil else { throw fault("anchors are not supported", event) }
            kind = .mapping(try members(depth: depth + 1))
        default: throw fault("aliases are not supported", event)
        }
        return YAMLNode(kind: kind, line: Int(mark.line) + 1, column: Int(mark.column) + 1)
    }

    private mutating func elements(depth: Int) throws(YAMLFault) -> [YAMLNode] {
        var result: [YAMLNode] = []
        while true {
            var event = try next()
            defer { yaml_event_delete(&event) }
            if event.type == YAML_SEQUENCE_END_EVENT { return result }
            result.append(try node(event, depth: depth))
        }
    }

    private mutating func members(depth: Int) throws(YAMLFault) -> [(key: YAMLNode, value: YAMLNode)] {
        var result: [(key: YAMLNode, value: YAMLNode)] = []
        while true {
            var event = try next()
            defer { yaml_event_delete(&event) }
            if event.type == YAML_MAPPING_END_EVENT { return result }
            let key = try node(event, depth: depth)
            guard case .scalar = key.kind else { throw fault("a key must be a single value", event) }
            var second = try next()
            defer { yaml_event_delete(&second) }
            result.append((key: key, value: try node(second, depth: depth)))
        }
    }

    private mutating func next() throws(YAMLFault) -> yaml_event_t {
        var event = yaml_event_t()
        guard yaml_parser_parse(&parser, &event) == 1 else {
            let problem = parser.problem.map { String(cString: $0) } ?? "not YAML"
            let mark = parser.problem_mark
            throw YAMLFault(message: problem, line: Int(mark.line) + 1, column: Int(mark.column) + 1)
        }
        return event
    }

    private func fault(_ message: String, _ event: yaml_event_t) -> YAMLFault {
        let mark = event.start_mark
        return YAMLFault(message: message, line: Int(mark.line) + 1, column: Int(mark.column) + 1)
    }
}
