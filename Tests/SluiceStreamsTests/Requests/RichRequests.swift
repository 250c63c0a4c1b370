import SluiceStreams

/// One conversation in the words of each format: system text, an image, a tool's call and its result, settings.
enum RichRequest {
    static let hints = SluiceStreamsTests.hints { $0.path = "/v1beta/models/m:generateContent" }

    static let texts = ["Be brief.", "What is this?", "A cat.", "And the weather?", "18 degrees", "Thanks."]

    static func body(_ format: RequestFormat) -> String? {
        switch format {
        case .openAIChat: openAIChat
        case .openAIResponses: openAIResponses
        case .anthropic: anthropic
        case .gemini: gemini
        case .ollamaChat: ollamaChat
        case .cohere: cohere
        case .vercelUI: vercel
        case .agUI: agUI
        default: nil
        }
    }

    static let openAIChat = """
        {"model":"m","messages":[{"role":"system","content":"Be brief."},
         {"role":"user","content":[{"type":"text","text":"What is this?"},
          {"type":"image_url","image_url":{"url":"data:image/png;base64,iVBORw0KGgo="}}]},
         {"role":"assistant","content":"A cat."},{"role":"user","content":"And the weather?"},
         {"role":"assistant","content":null,"tool_calls":[{"id":"call_1","type":"function",
          "function":{"name":"weather","arguments":"{\\"city\\":\\"Paris\\"}"}}]},
         {"role":"tool","tool_call_id":"call_1","content":"18 degrees"},{"role":"user","content":"Thanks."}],
         "tools":[{"type":"function","function":{"name":"weather","description":"It",
          "parameters":{"type":"object","properties":{"city":{"type":"string"}},"required":["city"]}}}],
         "temperature":0.5,"top_p":0.9,"max_tokens":100,"stream":true}
        """
    static let openAIResponses = """
        {"model":"m","instructions":"Be brief.","input":[
         {"role":"user","content":[{"type":"input_text","text":"What is this?"},
          {"type":"input_image","image_url":"data:image/png;base64,iVBORw0KGgo="}]},
         {"type":"message","role":"assistant","content":[{"type":"output_text","text":"A cat."}]},
         {"role":"user","content":"And the weather?"},
         {"type":"function_call","call_id":"call_1","name":"weather","arguments":"{\\"city\\":\\"Paris\\"}"},
         {"type":"function_call_output","call_id":"call_1","output":"18 degrees"},{"role":"user","content":"Thanks."}],
         "tools":[{"type":"function","name":"weather","description":"It",
          "parameters":{"type":"object","properties":{"city":{"type":"string"}},"required":["city"]}}],
         "temperature":0.5,"top_p":0.9,"max_output_tokens":100,"stream":true}
        """
    static let anthropic = """
        {"model":"m","system":"Be brief.","max_tokens":100,"messages":[
         {"role":"user","content":[{"type":"text","text":"What is this?"},
          {"type":"image","source":{"type":"base64","media_type":"image/png","data":"iVBORw0KGgo="}}]},
         {"role":"assistant","content":"A cat."},{"role":"user","content":"And the weather?"},
         {"role":"assistant","content":[{"type":"tool_use","id":"call_1","name":"weather","input":{"city":"Paris"}}]},
         {"role":"user","content":[{"type":"tool_result","tool_use_id":"call_1","content":"18 degrees"},
          {"type":"text","text":"Thanks."}]}],
         "tools":[{"name":"weather","description":"It",
          "input_schema":{"type":"object","properties":{"city":{"type":"string"}},"required":["city"]}}],
         "temperature":0.5,"top_p":0.9,"stream":true}
        """
    static let gemini = """
        {"systemInstruction":{"parts":[{"text":"Be brief."}]},"contents":[
         {"role":"user","parts":[{"text":"What is this?"},{"inlineData":{"mimeType":"image/png","data":"iVBORw0KGgo="}}]},
         {"role":"model","parts":[{"text":"A cat."}]},{"role":"user","parts":[{"text":"And the weather?"}]},
         {"role":"model","parts":[{"functionCall":{"name":"weather","args":{"city":"Paris"}}}]},
         {"role":"user","parts":[{"functionResponse":{"name":"weather","response":{"result":"18 degrees"}}},
          {"text":"Thanks."}]}],
         "tools":[{"functionDeclarations":[{"name":"weather","description":"It",
          "parameters":{"type":"OBJECT","properties":{"city":{"type":"STRING"}},"required":["city"]}}]}],
         "generationConfig":{"temperature":0.5,"topP":0.9,"maxOutputTokens":100}}
        """
    static let ollamaChat = """
        {"model":"m","messages":[{"role":"system","content":"Be brief."},
         {"role":"user","content":"What is this?","images":["iVBORw0KGgo="]},
         {"role":"assistant","content":"A cat."},{"role":"user","content":"And the weather?"},
         {"role":"assistant","content":"","tool_calls":[{"function":{"name":"weather","arguments":{"city":"Paris"}}}]},
         {"role":"tool","tool_name":"weather","content":"18 degrees"},{"role":"user","content":"Thanks."}],
         "tools":[{"type":"function","function":{"name":"weather","description":"It",
          "parameters":{"type":"object","properties":{"city":{"type":"string"}},"required":["city"]}}}],
         "options":{"temperature":0.5,"top_p":0.9,"num_predict":100,"num_ctx":4096},"keep_alive":"5m"}
        """
    static let cohere = """
        {"model":"m","messages":[{"role":"system","content":"Be brief."},
         {"role":"user","content":[{"type":"text","text":"What is this?"},
          {"type":"image_url","image_url":{"url":"data:image/png;base64,iVBORw0KGgo="}}]},
         {"role":"assistant","content":"A cat."},{"role":"user","content":"And the weather?"},
         {"role":"assistant","tool_calls":[{"id":"call_1","type":"function",
          "function":{"name":"weather","arguments":"{\\"city\\":\\"Paris\\"}"}}]},
         {"role":"tool","tool_call_id":"call_1","content":[{"type":"text","text":"18 degrees"}]},
         {"role":"user","content":"Thanks."}],
         "tools":[{"type":"function","function":{"name":"weather","description":"It",
          "parameters":{"type":"object","properties":{"city":{"type":"string"}},"required":["city"]}}}],
         "temperature":0.5,"p":0.9,"max_tokens":100,"stream":true}
        """
    static let vercel = """
        {"id":"c","trigger":"submit-message","model":"m","messages":[
         {"id":"1","role":"system","parts":[{"type":"text","text":"Be brief."}]},
         {"id":"2","role":"user","parts":[{"type":"text","text":"What is this?"},
          {"type":"file","mediaType":"image/png","url":"data:image/png;base64,iVBORw0KGgo="}]},
         {"id":"3","role":"assistant","parts":[{"type":"step-start"},{"type":"text","text":"A cat.","state":"done"}]},
         {"id":"4","role":"user","parts":[{"type":"text","text":"And the weather?"}]},
         {"id":"5","role":"assistant","parts":[{"type":"step-start"},{"type":"reasoning","text":"Hm."},
          {"type":"tool-weather","toolCallId":"call_1","state":"output-available","input":{"city":"Paris"},
           "output":"18 degrees"}]},
         {"id":"6","role":"user","parts":[{"type":"text","text":"Thanks."}]}]}
        """
    static let agUI = """
        {"threadId":"t","runId":"r","state":{},"context":[],"forwardedProps":{},"messages":[
         {"id":"1","role":"system","content":"Be brief."},
         {"id":"2","role":"user","content":[{"type":"text","text":"What is this?"},
          {"type":"binary","mimeType":"image/png","data":"iVBORw0KGgo="}]},
         {"id":"3","role":"assistant","content":"A cat."},{"id":"4","role":"user","content":"And the weather?"},
         {"id":"5","role":"assistant","toolCalls":[{"id":"call_1","type":"function",
          "function":{"name":"weather","arguments":"{\\"city\\":\\"Paris\\"}"}}]},
         {"id":"6","role":"tool","toolCallId":"call_1","content":"18 degrees"},
         {"id":"7","role":"user","content":"Thanks."}],
         "tools":[{"name":"weather","description":"It",
          "parameters":{"type":"object","properties":{"city":{"type":"string"}},"required":["city"]}}]}
        """
}
