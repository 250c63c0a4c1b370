/// What one API calls the settings that differ by name only: read and written by the same table.
struct Vocabulary: Sendable {
    let numbers: [(field: ChatRequest.Field, name: String)]
    /// The texts that end the answer.
    var stop: String?
    /// How many answers are wanted.
    var choices: String?
    /// Above it a temperature means no more than this.
    var hottest: String?

    func read(_ fields: inout Fields, into request: inout ChatRequest) throws(RequestError) {
        for (field, name) in numbers {
            guard let number = try fields.number(name), request[number: field] == nil else { continue }
            request[number: field] = number
            request.places[field] = fields.place(name)
        }
        if let stop { try readStop(stop, &fields, into: &request) }
        if let choices, let count = try fields.integer(choices) {
            guard count > 0 else { throw .invalid(field: fields.place(choices), "is not positive") }
            request.choices = count
            request.places[.choices] = fields.place(choices)
        }
    }

    private func readStop(
        _ name: String, _ fields: inout Fields, into request: inout ChatRequest
    ) throws(RequestError) {
        guard let value = fields.take(name) else { return }
        let elements = value.elements ?? [value]
        for (index, element) in elements.enumerated() {
            guard let text = element.string else {
                let place = fields.place(name)
                throw .invalid(field: value.elements == nil ? place : "\(place)[\(index)]", "is no string")
            }
            if !text.isEmpty { request.stop.append(text) }
        }
        if !request.stop.isEmpty { request.places[.stop] = fields.place(name) }
    }

    func write(_ request: ChatRequest, _ losses: inout Losses) -> JSONObject {
        var object = JSONObject()
        for (field, name) in numbers {
            guard var number = request[number: field] else { continue }
            if field == .temperature, let hottest { number = Self.lower(number, hottest) }
            object[name] = .number(number)
        }
        for field in Self.allNumbers where request[number: field] != nil {
            if !numbers.contains(where: { $0.field == field }) { losses.lose(field, of: request) }
        }
        if !request.stop.isEmpty {
            if let stop {
                object[stop] = .array(request.stop.map { .string($0) })
            } else {
                losses.lose(.stop, of: request)
            }
        }
        if let count = request.choices {
            if let choices {
                object[choices] = JSONValue(count)
            } else if count > 1 {
                losses.lose(.choices, of: request)
            }
        }
        return object
    }

    private static let allNumbers: [ChatRequest.Field] = [
        .temperature, .topP, .topK, .presencePenalty, .frequencyPenalty, .seed, .maxTokens,
    ]

    private static func lower(_ number: String, _ limit: String) -> String {
        guard let value = Double(number), let highest = Double(limit), value > highest else { return number }
        return limit
    }
}

// MARK: - The tables

extension Vocabulary {
    private static let penalties: [(field: ChatRequest.Field, name: String)] = [
        (.presencePenalty, "presence_penalty"), (.frequencyPenalty, "frequency_penalty"),
    ]
    private static let temperature: [(field: ChatRequest.Field, name: String)] = [(.temperature, "temperature")]
    private static let sampling: [(field: ChatRequest.Field, name: String)] =
        temperature + [(.topP, "top_p"), (.topK, "top_k")]

    /// Newer models know `max_completion_tokens` only, older servers `max_tokens` only.
    static func openAIChat(maxTokens: String = "max_tokens") -> Vocabulary {
        Vocabulary(
            numbers: temperature + [(.topP, "top_p"), (.maxTokens, maxTokens), (.seed, "seed")] + penalties,
            stop: "stop", choices: "n")
    }
    static let openAIResponses = Vocabulary(
        numbers: temperature + [(.topP, "top_p"), (.maxTokens, "max_output_tokens")])
    static let anthropic = Vocabulary(
        numbers: sampling + [(.maxTokens, "max_tokens")], stop: "stop_sequences", hottest: "1")
    static let anthropicCompletion = Vocabulary(
        numbers: sampling + [(.maxTokens, "max_tokens_to_sample")], stop: "stop_sequences", hottest: "1")
    static let cohere = Vocabulary(
        numbers: temperature + [(.topP, "p"), (.topK, "k"), (.maxTokens, "max_tokens"), (.seed, "seed")] + penalties,
        stop: "stop_sequences", hottest: "1")
    /// In `generationConfig`.
    static let gemini = Vocabulary(
        numbers: temperature + [
            (.topP, "topP"), (.topK, "topK"), (.maxTokens, "maxOutputTokens"), (.seed, "seed"),
            (.presencePenalty, "presencePenalty"), (.frequencyPenalty, "frequencyPenalty"),
        ], stop: "stopSequences", choices: "candidateCount")
    /// In `options`.
    static let ollama = Vocabulary(
        numbers: sampling + [(.maxTokens, "num_predict"), (.seed, "seed")] + penalties, stop: "stop")
    /// In `inferenceConfig`.
    static let bedrockConverse = Vocabulary(
        numbers: temperature + [(.topP, "topP"), (.maxTokens, "maxTokens")], stop: "stopSequences", hottest: "1")
    static let bedrockNova = Vocabulary(
        numbers: temperature + [(.topP, "topP"), (.topK, "topK"), (.maxTokens, "maxTokens")], stop: "stopSequences",
        hottest: "1")
    static let bedrockLlama = Vocabulary(
        numbers: temperature + [(.topP, "top_p"), (.maxTokens, "max_gen_len")], hottest: "1")
    static let bedrockMistral = Vocabulary(
        numbers: sampling + [(.maxTokens, "max_tokens")], stop: "stop", hottest: "1")
    /// In `textGenerationConfig`.
    static let bedrockTitan = Vocabulary(
        numbers: temperature + [(.topP, "topP"), (.maxTokens, "maxTokenCount")], stop: "stopSequences", hottest: "1")
    /// In `parameters`.
    static let tgi = Vocabulary(
        numbers: sampling + [
            (.maxTokens, "max_new_tokens"), (.seed, "seed"), (.frequencyPenalty, "frequency_penalty"),
        ], stop: "stop")
    static let llamaCPP = Vocabulary(
        numbers: sampling + [(.maxTokens, "n_predict"), (.seed, "seed")] + penalties, stop: "stop")
    /// In `input`.
    static let replicate = Vocabulary(
        numbers: sampling + [(.maxTokens, "max_tokens"), (.seed, "seed")] + penalties, stop: "stop_sequences")
    /// In `parameters`.
    static let watsonx = Vocabulary(
        numbers: sampling + [(.maxTokens, "max_new_tokens"), (.seed, "random_seed")], stop: "stop_sequences")
}
