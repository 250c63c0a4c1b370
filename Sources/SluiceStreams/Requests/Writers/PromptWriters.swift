/// OpenAI's legacy text completions.
struct OpenAICompletionsWriter: RequestWriter {
    func conversation(_ request: ChatRequest, _ losses: inout Losses) throws(RequestError) -> JSONObject {
        var body = JSONObject()
        if let model = request.model { body["model"] = .string(model) }
        body["prompt"] = .string(PromptText.withSystem(request, &losses))
        return body
    }

    func settings(_ request: ChatRequest, _ losses: inout Losses) throws(RequestError) -> JSONObject {
        losses.loseAllButText(request)
        var body = Vocabulary.openAIChat().write(request, &losses)
        if let user = request.user { body["user"] = .string(user) }
        return body
    }
}

/// Anthropic's legacy text completions.
struct AnthropicCompletionWriter: RequestWriter {
    func conversation(_ request: ChatRequest, _ losses: inout Losses) throws(RequestError) -> JSONObject {
        var body = JSONObject()
        if let model = request.model { body["model"] = .string(model) }
        body["prompt"] = .string(PromptText.human(request, &losses))
        return body
    }

    func settings(_ request: ChatRequest, _ losses: inout Losses) throws(RequestError) -> JSONObject {
        losses.loseAllButText(request)
        var body = Vocabulary.anthropicCompletion.write(request, &losses)
        if let user = request.user { body["metadata"] = ["user_id": .string(user)] }
        return body
    }

    func complete(_ body: inout JSONObject) {
        if body["max_tokens_to_sample"] == nil { body["max_tokens_to_sample"] = JSONValue(AnthropicWriter.maxTokens) }
    }
}

/// Text Generation Inference's `generate_stream`.
struct TGIWriter: RequestWriter {
    func conversation(_ request: ChatRequest, _ losses: inout Losses) throws(RequestError) -> JSONObject {
        JSONObject([("inputs", .string(PromptText.withSystem(request, &losses)))])
    }

    /// It refuses a temperature of 0 and a `top_p` of 1: both mean what it does by itself.
    func settings(_ request: ChatRequest, _ losses: inout Losses) throws(RequestError) -> JSONObject {
        losses.loseTools(request)
        losses.loseReasoning(request)
        var parameters = Vocabulary.tgi.write(request, &losses)
        if let heat = request.temperature.flatMap({ Double($0) }), heat <= 0 { parameters.remove("temperature") }
        if let share = request.topP.flatMap({ Double($0) }), share >= 1 { parameters.remove("top_p") }
        switch request.responseFormat {
        case .schema(let schema, _, _)?: parameters["grammar"] = ["type": "json", "value": schema]
        case .json?: losses.lose(.responseFormat, of: request)
        case .text?, nil: break
        }
        var body = JSONObject()
        body.put("parameters", parameters)
        return body
    }
}

/// llama.cpp's own `completion`.
struct LlamaCPPWriter: RequestWriter {
    func conversation(_ request: ChatRequest, _ losses: inout Losses) throws(RequestError) -> JSONObject {
        JSONObject([("prompt", .string(PromptText.withSystem(request, &losses)))])
    }

    func settings(_ request: ChatRequest, _ losses: inout Losses) throws(RequestError) -> JSONObject {
        losses.loseTools(request)
        losses.loseReasoning(request)
        var body = Vocabulary.llamaCPP.write(request, &losses)
        switch request.responseFormat {
        case .schema(let schema, _, _)?: body["json_schema"] = schema
        case .json?: body["json_schema"] = ["type": "object"]
        case .text?, nil: break
        }
        return body
    }
}

/// Replicate's predictions; the names are those of its language models.
struct ReplicateWriter: RequestWriter {
    func conversation(_ request: ChatRequest, _ losses: inout Losses) throws(RequestError) -> JSONObject {
        var input = JSONObject([("prompt", .string(PromptText.plain(request.turns, &losses)))])
        if let system = request.systemText { input["system_prompt"] = .string(system) }
        return JSONObject([("input", input.value)])
    }

    func settings(_ request: ChatRequest, _ losses: inout Losses) throws(RequestError) -> JSONObject {
        losses.loseAllButText(request)
        var input = Vocabulary.replicate.write(request, &losses)
        if !request.stop.isEmpty { input["stop_sequences"] = .string(.joined(request.stop, by: ",")) }
        var body = JSONObject()
        body.put("input", input)
        return body
    }
}

/// watsonx.ai's text generation. Its project is for the route to say.
struct WatsonxWriter: RequestWriter {
    func conversation(_ request: ChatRequest, _ losses: inout Losses) throws(RequestError) -> JSONObject {
        var body = JSONObject()
        if let model = request.model { body["model_id"] = .string(model) }
        body["input"] = .string(PromptText.withSystem(request, &losses))
        return body
    }

    /// It takes the likeliest token unless told to sample.
    func settings(_ request: ChatRequest, _ losses: inout Losses) throws(RequestError) -> JSONObject {
        losses.loseAllButText(request)
        var parameters = Vocabulary.watsonx.write(request, &losses)
        let isSampled = request.temperature != nil || request.topP != nil || request.topK != nil
        if isSampled { parameters["decoding_method"] = "sample" }
        var body = JSONObject()
        body.put("parameters", parameters)
        return body
    }
}

extension Losses {
    /// For upstreams that continue a text and do nothing else.
    mutating func loseAllButText(_ request: ChatRequest) {
        loseTools(request)
        loseFormat(request)
        loseReasoning(request)
    }
}
