import SluiceBytes

/// Reads OpenTelemetry's variables as its specification has it: an empty one is an unset one, names are compared without case, and
/// what cannot be understood is told and left out.
struct TracingEnvironment {
    /// nil: no traces.
    private(set) var spec: TracingSpec?
    private(set) var warnings: [String] = []
    private let variables: [String: String]

    /// `isWanted`: the file asks for traces, so that no variable is needed for that; `endpoint` is where it wants them to go.
    init(_ variables: [String: String], isWanted: Bool = false, endpoint given: TracingSpec? = nil) {
        self.variables = variables
        guard !flag("OTEL_SDK_DISABLED"), var spec = given ?? endpoint(isWanted: isWanted) else { return }
        readEncoding(&spec)
        if let headers = signal("HEADERS") { spec.headers = readHeaders(headers.name, headers.value) }
        if let text = signal("TIMEOUT"), let time = milliseconds(text) { spec.timeout = time }
        readCompression(&spec)
        readFiles(&spec)
        readResource(&spec)
        readSampler(&spec)
        readBatch(&spec)
        readLimits(&spec)
        readPropagators(&spec)
        self.spec = spec
    }

    // MARK: - Where to

    private typealias Variable = (name: String, value: String)

    private func get(_ name: String) -> Variable? {
        guard let value = variables[name]?.trimmed, !value.isEmpty else { return nil }
        return (name, value)
    }

    /// That of traces goes before that of all signals.
    private func signal(_ suffix: String) -> Variable? {
        get("OTEL_EXPORTER_OTLP_TRACES_\(suffix)") ?? get("OTEL_EXPORTER_OTLP_\(suffix)")
    }

    private mutating func endpoint(isWanted: Bool) -> TracingSpec? {
        let names = get("OTEL_TRACES_EXPORTER")?.value.lowercased().split(separator: ",").map { String($0).trimmed }
        if let names {
            for name in names where !["otlp", "none"].contains(name) {
                warn("OTEL_TRACES_EXPORTER", "'\(name.prefix(40))' is none of otlp, none: it is left out")
            }
            guard isWanted || names.contains("otlp") else { return nil }
        }
        let own = get("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
        let base = get("OTEL_EXPORTER_OTLP_ENDPOINT")
        guard isWanted || names != nil || own != nil || base != nil else { return nil }
        for (variable, isBase) in [(own, false), (base, true)] {
            guard let variable else { continue }
            if let spec = TracingSpec(endpoint: variable.value, isBase: isBase) { return spec }
            warn(variable.name, "is not http(s)://host[:port][/path] without user, query and fragment")
        }
        return TracingSpec(endpoint: "http://localhost:4318", isBase: true)
    }

    private mutating func readEncoding(_ spec: inout TracingSpec) {
        guard let given = signal("PROTOCOL") else {
            if spec.endpoint.port == 4317 {
                warn("OTEL_EXPORTER_OTLP_ENDPOINT", "4317 is the port of gRPC; HTTP has 4318")
            }
            return
        }
        if let encoding = TracingSpec.Encoding(rawValue: given.value.lowercased()) {
            spec.encoding = encoding
        } else if given.value.lowercased() == "grpc" {
            let hint = spec.endpoint.port == 4317 ? ", which collectors take at port 4318 and not 4317" : ""
            warn(given.name, "grpc is not spoken: traces go as http/protobuf\(hint)")
        } else {
            warn(given.name, "'\(given.value.prefix(40))' is none of http/protobuf, http/json: it is http/protobuf")
        }
    }

    /// `name=value,…`, with percent escapes. A value is a secret, and no warning repeats any of it.
    private mutating func readHeaders(_ name: String, _ text: String) -> [TracingSpec.Header] {
        var headers: [TracingSpec.Header] = []
        for member in text.split(separator: ",") where !String(member).trimmed.isEmpty {
            guard let equals = member.firstIndex(of: "="),
                let key = Self.decoded(String(member[..<equals]).trimmed), Self.isToken(key),
                let value = Self.decoded(String(member[member.index(after: equals)...]).trimmed),
                value.utf8.allSatisfy({ $0 >= 0x20 && $0 != 0x7F })
            else {
                warn(name, "a member is not NAME=VALUE with percent escapes: it is left out")
                continue
            }
            headers.removeAll { $0.name.lowercased() == key.lowercased() }
            headers.append(.init(name: key, value: Secret(value)))
        }
        return headers
    }

    private mutating func readCompression(_ spec: inout TracingSpec) {
        guard let given = signal("COMPRESSION") else { return }
        switch given.value.lowercased() {
        case "gzip": spec.isCompressed = true
        case "none": spec.isCompressed = false
        default: warn(given.name, "'\(given.value.prefix(40))' is none of gzip, none: nothing is compressed")
        }
    }

    private mutating func readFiles(_ spec: inout TracingSpec) {
        if let ca = signal("CERTIFICATE") { spec.tls.ca = ca.value }
        let (certificate, key) = (signal("CLIENT_CERTIFICATE"), signal("CLIENT_KEY"))
        if let certificate, let key {
            (spec.tls.certificate, spec.tls.privateKey) = (certificate.value, key.value)
        } else if let one = certificate ?? key {
            warn(one.name, "is heeded only together with the other one of CLIENT_CERTIFICATE and CLIENT_KEY")
        }
    }

    // MARK: - What

    /// As with baggage; a list with a fault in it counts as none.
    private mutating func readResource(_ spec: inout TracingSpec) {
        if let given = get("OTEL_RESOURCE_ATTRIBUTES") {
            var attributes: [TracingSpec.Attribute] = []
            var isWhole = true
            for member in given.value.split(separator: ",") where !String(member).trimmed.isEmpty {
                guard let equals = member.firstIndex(of: "="),
                    let key = Self.decoded(String(member[..<equals]).trimmed), !key.isEmpty,
                    let value = Self.decoded(String(member[member.index(after: equals)...]).trimmed)
                else {
                    isWhole = false
                    break
                }
                attributes.removeAll { $0.name == key }
                attributes.append(.init(name: key, value: value))
            }
            if !isWhole {
                warn(given.name, "is not NAME=VALUE,… with percent escapes: it is left out")
                attributes = []
            }
            if let index = attributes.firstIndex(where: { $0.name == "service.name" }) {
                spec.serviceName = attributes.remove(at: index).value
            }
            spec.resource = attributes
        }
        if let name = get("OTEL_SERVICE_NAME") { spec.serviceName = name.value }
    }

    private mutating func readSampler(_ spec: inout TracingSpec) {
        guard let given = get("OTEL_TRACES_SAMPLER") else { return }
        let name = given.value.lowercased()
        let root = name.hasPrefix("parentbased_") ? String(name.dropFirst(12)) : name
        let isParentBased = name != root
        switch root {
        case "always_on": spec.sampler = .init(isParentBased: isParentBased, ratio: 1)
        case "always_off": spec.sampler = .init(isParentBased: isParentBased, ratio: 0)
        case "traceidratio":
            spec.sampler = .init(isParentBased: isParentBased, ratio: 1)
            guard let argument = get("OTEL_TRACES_SAMPLER_ARG") else { return }
            if let ratio = Double(argument.value), (0...1).contains(ratio) {
                spec.sampler.ratio = ratio
            } else {
                warn(argument.name, "'\(argument.value.prefix(40))' is no number from 0 to 1: it is 1")
            }
        default:
            warn(
                given.name,
                "'\(given.value.prefix(40))' is none of always_on, always_off, traceidratio, with or without parentbased_ before: it is parentbased_always_on"
            )
        }
    }

    private mutating func readBatch(_ spec: inout TracingSpec) {
        if let given = get("OTEL_BSP_SCHEDULE_DELAY"), let delay = milliseconds(given, zeroIsForever: false) {
            spec.batch.delay = delay
        }
        if let given = get("OTEL_BSP_EXPORT_TIMEOUT"), let time = milliseconds(given) {
            spec.batch.exportTimeout = time
        }
        if let size = count("OTEL_BSP_MAX_QUEUE_SIZE", atLeast: 1) { spec.batch.queueSize = size }
        if let size = count("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", atLeast: 1) {
            if size > spec.batch.queueSize {
                warn("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "is over OTEL_BSP_MAX_QUEUE_SIZE: it is as large as that")
            }
            spec.batch.size = size
        }
        spec.batch.size = min(spec.batch.size, spec.batch.queueSize)
    }

    private mutating func readLimits(_ spec: inout TracingSpec) {
        if let length = count("OTEL_SPAN_ATTRIBUTE_VALUE_LENGTH_LIMIT") ?? count("OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT") {
            spec.limits.valueLength = length
        }
        if let number = count("OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT") ?? count("OTEL_ATTRIBUTE_COUNT_LIMIT") {
            spec.limits.attributes = number
        }
        if let number = count("OTEL_SPAN_EVENT_COUNT_LIMIT") { spec.limits.events = number }
        if let number = count("OTEL_EVENT_ATTRIBUTE_COUNT_LIMIT") ?? count("OTEL_ATTRIBUTE_COUNT_LIMIT") {
            spec.limits.eventAttributes = number
        }
    }

    private mutating func readPropagators(_ spec: inout TracingSpec) {
        guard let given = get("OTEL_PROPAGATORS") else { return }
        let names = given.value.lowercased().split(separator: ",").map { String($0).trimmed }
        for name in names where !["tracecontext", "baggage", "none"].contains(name) {
            warn(given.name, "'\(name.prefix(40))' is not supported, tracecontext is")
        }
        spec.propagates = names.contains("tracecontext") && !names.contains("none")
    }

    // MARK: - Kinds of values

    private mutating func warn(_ name: String, _ text: String) { warnings.append("\(name): \(text)") }

    private mutating func flag(_ name: String) -> Bool {
        guard let given = get(name) else { return false }
        let word = given.value.lowercased()
        if word != "true", word != "false" {
            warn(name, "'\(given.value.prefix(40))' is neither true nor false: it is false")
        }
        return word == "true"
    }

    private mutating func count(_ name: String, atLeast least: Int = 0) -> Int? {
        guard let given = get(name) else { return nil }
        if let number = Int32(given.value), Int(number) >= least { return Int(number) }
        warn(name, "'\(given.value.prefix(40))' is no number from \(least) on: it is left out")
        return nil
    }

    /// A timeout of 0 is none; so long as a day does for that.
    private mutating func milliseconds(_ given: Variable, zeroIsForever: Bool = true) -> Interval? {
        guard let number = Int32(given.value), number >= 0 else {
            warn(given.name, "'\(given.value.prefix(40))' is no number of milliseconds: it is left out")
            return nil
        }
        return number == 0 && zeroIsForever ? .seconds(86_400) : .milliseconds(UInt64(number))
    }

    /// With percent escapes filled in; nil if one is broken, or what comes out is not UTF-8.
    static func decoded(_ text: String) -> String? {
        guard text.utf8.contains(UInt8(ascii: "%")) else { return text }
        var bytes: [UInt8] = []
        var rest = Array(text.utf8)[...]
        while let byte = rest.popFirst() {
            guard byte == UInt8(ascii: "%") else {
                bytes.append(byte)
                continue
            }
            guard let high = rest.popFirst().flatMap(ASCII.hexValue), let low = rest.popFirst().flatMap(ASCII.hexValue)
            else {
                return nil
            }
            bytes.append(high << 4 | low)
        }
        return String(validating: bytes, as: UTF8.self)
    }

    private static func isToken(_ name: String) -> Bool {
        !name.isEmpty
            && name.utf8.allSatisfy { byte in
                ASCII.isDigit(byte) || (byte | 0x20) &- 0x61 < 26 || "!#$%&'*+-.^_`|~".utf8.contains(byte)
            }
    }
}

extension String {
    /// Without spaces and tabs at both ends.
    fileprivate var trimmed: String {
        let isSpace: (Character) -> Bool = { $0 == " " || $0 == "\t" }
        return String(drop(while: isSpace).reversed().drop(while: isSpace).reversed())
    }
}
