// What a request of each format looks like, how each framing is cut, and what a frame means. No document, no network.

/** The body of a request; `null` where the format is not known. */
export function requestBody(format, prompt, model) {
    const messages = [{role: 'user', content: prompt}];
    const named = model ? {model} : {};
    switch (format) {
    case 'openai-chat': case 'cohere': return {model: model || 'demo', stream: true, messages};
    case 'openai-responses': return {model: model || 'demo', stream: true, input: prompt};
    case 'openai-completions': return {model: model || 'demo', stream: true, prompt};
    case 'anthropic': return {model: model || 'demo', max_tokens: 1024, stream: true, messages};
    case 'gemini': return {contents: [{role: 'user', parts: [{text: prompt}]}]};
    case 'ollama-chat': return {model: model || 'demo', stream: true, messages};
    case 'ollama-generate': return {model: model || 'demo', stream: true, prompt};
    case 'vercel-ui':
        return {id: 'playground', trigger: 'submit-message', ...named,
            messages: [{id: 'm1', role: 'user', parts: [{type: 'text', text: prompt}]}]};
    case 'ag-ui':
        return {threadId: 'playground', runId: 'r1', state: {}, tools: [], context: [], forwardedProps: {},
            messages: [{id: 'm1', role: 'user', content: prompt}]};
    case 'prompt': return {prompt, ...named};
    case 'run': return {input: {prompt, ...named}, output_only: true, wait_for_completion: true};
    default: return null;
    }
}

/** How a body is cut into frames: `events`, `lines`, or as it comes. */
export function framingOf(type, fields) {
    if (type.startsWith('text/event-stream')) return 'events';
    if (/ndjson|jsonl|json-lines|stream\+json/.test(type) || fields.get('x-vercel-ai-data-stream')) return 'lines';
    return 'pieces';
}

/** Cuts text that arrives in pieces into whole frames. */
export class FrameCutter {
    constructor(framing) {
        this.framing = framing;
        this.rest = '';
    }

    push(text) {
        if (this.framing === 'pieces') return text ? [text] : [];
        this.rest += text;
        const end = this.framing === 'events' ? /\r\n\r\n|\n\n|\r\r/g : /\n/g;
        const frames = [];
        let from = 0;
        for (let match; (match = end.exec(this.rest));) {
            const frame = this.rest.slice(from, end.lastIndex);
            if (frame.trim()) frames.push(frame);
            from = end.lastIndex;
        }
        this.rest = this.rest.slice(from);
        return frames;
    }

    /** What was not whole when the body ended. */
    finish() {
        const rest = this.rest;
        this.rest = '';
        return rest.trim() ? [rest] : [];
    }
}

/** An event of an event stream (WHATWG HTML, 9.2.6); `data` is null if it has none. */
export function parseEvent(frame) {
    const event = {type: 'message', data: null, id: null};
    for (const line of frame.split(/\r\n|\n|\r/)) {
        const colon = line.indexOf(':');
        if (colon === 0 || line === '') continue;
        const name = colon < 0 ? line : line.slice(0, colon);
        const value = colon < 0 ? '' : line.slice(colon + 1).replace(/^ /, '');
        if (name === 'data') event.data = event.data === null ? value : event.data + '\n' + value;
        else if (name === 'event') event.type = value;
        else if (name === 'id') event.id = value;
    }
    return event;
}

/** Formats whose end cannot be seen in the body. */
export const ENDLESS = new Set(['text', 'passthrough']);

/**
 * What a frame says: `text` of the answer, `end` of it, `error`, `tokens` that the provider counted; any may be missing.
 * @param format the stream format; `passthrough` where nobody knows
 */
export function meaning(frame, framing, format) {
    if (framing === 'pieces') return format === 'text' ? {text: frame} : piece(frame);
    if (framing === 'lines') return format === 'vercel-data' ? dataLine(frame) : tryShape(frame) ?? {};
    const event = parseEvent(frame);
    if (event.data === null) return {};
    if (format === 'sse-text') {
        if (event.type === 'done') return {end: true, ...only(tryShape(event.data), 'tokens')};
        if (event.type === 'error') return {error: tryShape(event.data)?.error ?? event.data};
        return {text: event.data};
    }
    if (event.data.trim() === '[DONE]') return {end: true};
    return tryShape(event.data) ?? {};
}

/** A document, or what nobody knows the format of: as it is, unless it says what it means. */
function piece(frame) {
    const found = tryShape(frame) ?? {};
    return found.error === undefined ? {text: frame, ...found} : found;
}

function only(found, name) { return found && found[name] !== undefined ? {[name]: found[name]} : {}; }

/** AI SDK 4: a code, a colon and a JSON value. */
function dataLine(frame) {
    const colon = frame.indexOf(':');
    const value = parsed(frame.slice(colon + 1));
    switch (frame.slice(0, colon)) {
    case '0': return typeof value === 'string' ? {text: value} : {};
    case '3': return {error: String(value)};
    case 'd': return {end: true, ...count(value?.usage?.completionTokens)};
    default: return {};
    }
}

function parsed(text) {
    try { return JSON.parse(text); } catch { return undefined; }
}

function tryShape(text) {
    const value = parsed(text);
    return value !== null && typeof value === 'object' ? shape(value) : undefined;
}

const ENDS = new Set([
    'message_stop', 'response.completed', 'response.incomplete', 'message-end', 'finish', 'RUN_FINISHED',
]);

function shape(value) {
    const error = errorOf(value);
    if (error !== undefined) return {error};
    const found = count(tokensOf(value));
    const text = textOf(value);
    if (typeof text === 'string' && text !== '') found.text = text;
    if (value.done === true || ENDS.has(value.type) || value.choices?.[0]?.finish_reason ||
        value.candidates?.[0]?.finishReason) found.end = true;
    return found;
}

function errorOf(value) {
    const error = value.error ?? value.response?.error;
    if (error) return typeof error === 'string' ? error : error.message ?? JSON.stringify(error);
    if (value.type === 'error') return value.errorText ?? value.message ?? 'error';
    return value.type === 'RUN_ERROR' ? value.message ?? 'error' : undefined;
}

function textOf(value) {
    const choice = value.choices?.[0];
    if (choice) return choice.index > 0 ? undefined : choice.delta?.content ?? choice.text ?? choice.message?.content;
    if (value.candidates) {
        return value.candidates[0]?.content?.parts?.filter(part => !part.thought).map(part => part.text ?? '').join('');
    }
    switch (value.type) {
    case 'response.output_text.delta': case 'TEXT_MESSAGE_CONTENT': return value.delta;
    case 'text-delta': return value.delta ?? value.textDelta;
    case 'content_block_delta': return value.delta?.text;
    case 'content-delta': return value.delta?.message?.content?.text;
    }
    // Of the rest, what has a type tells what was told before: the whole text, at its end.
    if (value.type !== undefined) return undefined;
    if (typeof value.text === 'string') return value.choice > 0 ? undefined : value.text;
    if (typeof value.response === 'string') return value.response;
    return typeof value.message?.content === 'string' ? value.message.content : undefined;
}

function tokensOf(value) {
    const usage = value.usage ?? value.response?.usage ?? value.messageMetadata?.usage ?? value.delta?.usage?.tokens ??
        value.message?.usage;
    return value.usageMetadata?.candidatesTokenCount ?? value.eval_count ?? usage?.completion_tokens ??
        usage?.output_tokens ?? usage?.outputTokens;
}

function count(tokens) { return Number.isFinite(tokens) ? {tokens} : {}; }
