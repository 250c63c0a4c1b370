/// Writes a neutral request in the words of one upstream's API.
protocol RequestWriter: Sendable {
    /// What was said so far, and what is behind it: messages, system text, or a prompt of all of them.
    func conversation(_ request: ChatRequest, _ losses: inout Losses) throws(RequestError) -> JSONObject
    /// How it is to be answered: sampling, tools, format. Says nothing where the request says nothing.
    func settings(_ request: ChatRequest, _ losses: inout Losses) throws(RequestError) -> JSONObject
    /// Adds what the upstream insists on, when the route has had its say.
    func complete(_ body: inout JSONObject)
}

extension RequestWriter {
    func complete(_ body: inout JSONObject) {}
}

/// What of a request the upstream's API has no words for, in the client's words.
struct Losses {
    private(set) var fields: [String] = []
    /// A client that sends more that is unknown than this is told enough.
    static let limit = 64

    mutating func lose(_ place: String) {
        if fields.count < Self.limit, !fields.contains(place) { fields.append(place) }
    }

    mutating func lose(_ field: ChatRequest.Field, of request: ChatRequest) {
        lose(request.places[field] ?? field.rawValue)
    }

    // MARK: - What whole families of upstreams cannot do

    mutating func loseTools(_ request: ChatRequest) {
        if !request.tools.isEmpty, request.toolChoice != ChatRequest.ToolChoice.none { lose(.tools, of: request) }
    }

    /// Tools, for upstreams that choose among them by themselves.
    mutating func loseForcedTools(_ request: ChatRequest) {
        guard !request.tools.isEmpty else { return }
        switch request.toolChoice {
        case .required?, .tool?: lose(.toolChoice, of: request)
        default: break
        }
        loseSingleCalls(request)
    }

    /// A wish for one call at a time.
    mutating func loseSingleCalls(_ request: ChatRequest) {
        if request.parallelToolCalls == false, !request.tools.isEmpty { lose(.parallelToolCalls, of: request) }
    }

    mutating func loseFormat(_ request: ChatRequest) {
        switch request.responseFormat {
        case .json?, .schema?: lose(.responseFormat, of: request)
        case .text?, nil: break
        }
    }

    mutating func loseReasoning(_ request: ChatRequest) {
        if request.reasoning?.isEnabled == true { lose(.reasoning, of: request) }
    }
}

/// A JSON object in the making, which keeps the order of its members.
struct JSONObject {
    private(set) var members: [(key: String, value: JSONValue)] = []

    init() {}
    init(_ members: [(key: String, value: JSONValue)]) { self.members = members }

    var value: JSONValue { .object(members) }
    var isEmpty: Bool { members.isEmpty }

    /// Assigning nil takes the member out, and all of its namesakes.
    subscript(key: String) -> JSONValue? {
        get { members.first { $0.key == key }?.value }
        set {
            let position = members.firstIndex { $0.key == key }
            if let position, let newValue {
                members[position].value = newValue
                var index = members.count - 1
                while index > position {
                    if members[index].key == key { members.remove(at: index) }
                    index -= 1
                }
            } else if position != nil {
                members.removeAll { $0.key == key }
            } else if let newValue {
                members.append((key: key, value: newValue))
            }
        }
    }

    mutating func remove(_ keys: String...) {
        for key in keys { self[key] = Optional<JSONValue>.none }
    }

    /// Adds a member that is an object, unless it is empty.
    mutating func put(_ key: String, _ object: JSONObject) {
        if !object.isEmpty { self[key] = object.value }
    }

    mutating func put(_ object: JSONObject) {
        for member in object.members { self[member.key] = member.value }
    }
}
