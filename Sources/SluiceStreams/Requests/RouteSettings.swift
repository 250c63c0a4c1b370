/// What a route's `defaults` or `overrides` say: settings by OpenAI's chat names, and members of the upstream's body.
struct RouteSettings {
    /// Of the known names; no messages.
    private(set) var settings = ChatRequest()
    /// As they are. `null` takes a member out of the body.
    private var rest = JSONObject()
    private let isOverriding: Bool

    /// `place`: `defaults` or `overrides`. Their `model` and `stream` are read elsewhere. For an upstream that speaks like
    /// OpenAI every member stands for itself.
    init(_ value: JSONValue?, at place: String, for dialect: Dialect, isOverriding: Bool) {
        self.isOverriding = isOverriding
        for member in value?.members ?? [] where member.key != "model" && member.key != "stream" {
            let isKnown = OpenAISettings.names.contains(member.key) && !member.value.isNull
            // What has a name of OpenAI's and yet is not as OpenAI has it is meant for the upstream.
            if isKnown, !dialect.speaksOpenAI, read(member.key, member.value, at: place) { continue }
            rest[member.key] = member.value
        }
    }

    private mutating func read(_ key: String, _ value: JSONValue, at place: String) -> Bool {
        var one = ChatRequest()
        do throws(RequestError) {
            var fields = try Fields(.object([(key: key, value: value)]), at: "")
            try OpenAISettings.read(&fields, into: &one)
        } catch {
            return false
        }
        guard one.unknown.isEmpty else { return false }
        one.places = one.places.mapValues { "\(place).\($0)" }
        settings.take(from: one, overriding: true)
        return true
    }

    /// Puts them into a request that is yet to be written.
    func apply(to request: inout ChatRequest) { request.take(from: settings, overriding: isOverriding) }

    /// Puts into a body what is in the upstream's own words.
    func merge(into body: inout JSONObject) {
        var rest = rest
        mergeLimits(&rest, &body)
        for name in OpenAISettings.names {
            // One schema is not made of two.
            guard let value = rest[name], value.members != nil else { continue }
            if isOverriding || body[name]?.isNull ?? true { body[name] = value }
            rest.remove(name)
        }
        body.merge(rest, overriding: isOverriding)
    }

    /// The limit of an answer's length has two names with OpenAI, of which one may stand in a request.
    private func mergeLimits(_ rest: inout JSONObject, _ body: inout JSONObject) {
        let names = ["max_tokens", "max_completion_tokens"]
        guard names.contains(where: { rest[$0]?.isNull == false }) else { return }
        if isOverriding {
            for name in names { body.remove(name) }
        } else if names.contains(where: { body[$0]?.isNull == false }) {
            for name in names { rest.remove(name) }
        }
    }
}

extension ChatRequest {
    /// Settings of another, only where this one is silent or over what it says.
    mutating func take(from other: ChatRequest, overriding: Bool) {
        func pick<Value>(_ own: Value?, _ given: Value?) -> Value? { overriding ? given ?? own : own ?? given }
        func pick<Value>(_ own: [Value], _ given: [Value]) -> [Value] {
            (overriding ? given.isEmpty : !own.isEmpty) ? own : given
        }
        // Whose place it is shows once it is known who said it.
        if tools.isEmpty { places[.tools] = nil }
        if parallelToolCalls == nil { places[.parallelToolCalls] = nil }
        temperature = pick(temperature, other.temperature)
        topP = pick(topP, other.topP)
        topK = pick(topK, other.topK)
        presencePenalty = pick(presencePenalty, other.presencePenalty)
        frequencyPenalty = pick(frequencyPenalty, other.frequencyPenalty)
        seed = pick(seed, other.seed)
        maxTokens = pick(maxTokens, other.maxTokens)
        choices = pick(choices, other.choices)
        stop = pick(stop, other.stop)
        responseFormat = pick(responseFormat, other.responseFormat)
        reasoning = pick(reasoning, other.reasoning)
        tools = pick(tools, other.tools)
        toolChoice = pick(toolChoice, other.toolChoice)
        parallelToolCalls = pick(parallelToolCalls, other.parallelToolCalls)
        user = pick(user, other.user)
        places.merge(other.places) { overriding ? $1 : $0 }
    }
}

extension JSONObject {
    /// Merges objects member by member; anything else is taken whole, only where this one is silent or over what it says.
    /// `null` takes a member out. Objects that differ in their `type` are alternatives, and one stands for the other.
    mutating func merge(_ other: JSONObject, overriding: Bool) {
        for (key, value) in other.members {
            guard let own = self[key], !own.isNull else {
                if !value.isNull { self[key] = value } else if overriding { remove(key) }
                continue
            }
            let areAlternatives = own["type"] != nil && value["type"] != nil && own["type"] != value["type"]
            if let members = own.members, let given = value.members, !areAlternatives {
                var inner = JSONObject(members)
                inner.merge(JSONObject(given), overriding: overriding)
                self[key] = inner.value
            } else if overriding {
                if value.isNull { remove(key) } else { self[key] = value }
            }
        }
    }
}
