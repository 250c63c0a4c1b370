// The chosen request in the words of other programs. Pure; `request` is what play.js builds:
// {method, url, host, headers, body, needsKey, format, socket}.

/** One word of a POSIX shell, whatever it holds. */
export function shellQuote(text) { return "'" + text.replaceAll("'", "'\\''") + "'"; }

export function curl(request) {
    const parts = ['curl -N'];
    if (request.socket) parts.push('--unix-socket ' + shellQuote(request.socket));
    // Brackets and braces in a URL are patterns to curl.
    if (/[[\]{}]/.test(request.url)) parts.push('--globoff');
    parts[0] += ' ' + shellQuote(request.url);
    if (request.method !== 'GET' && !(request.method === 'POST' && request.body)) parts.push('-X ' + request.method);
    if (request.host) parts.push('-H ' + shellQuote('Host: ' + request.host));
    for (const [name, value] of Object.entries(request.headers)) parts.push('-H ' + shellQuote(name + ': ' + value));
    if (request.needsKey) parts.push('-H "Authorization: Bearer $SLUICE_KEY"');
    if (request.body) parts.push('--data-raw ' + shellQuote(request.body));
    return parts.join(' \\\n    ');
}

export function fetchCode(request) {
    const headers = Object.entries(request.headers).map(([name, value]) => [quote(name), quote(value)]);
    if (request.needsKey) headers.push(["'Authorization'", "'Bearer ' + key"]);
    const options = [];
    if (request.method !== 'GET') options.push(`    method: ${quote(request.method)},`);
    if (headers.length) options.push(`    headers: {${headers.map(pair => pair.join(': ')).join(', ')}},`);
    if (request.body) options.push(`    body: ${quote(request.body)},`);
    const given = options.length ? `, {\n${options.join('\n')}\n}` : '';
    return `const response = await fetch(${quote(request.url)}${given});
if (!response.ok) throw new Error(await response.text());
const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
for (let part; !(part = await reader.read()).done;) console.log(part.value);
`;
}

/** null where an EventSource cannot ask: it only knows GET, and event streams. */
export function eventSourceCode(request) {
    if (request.method !== 'GET' || !EVENTS[request.format] || request.needsKey) return null;
    return `const source = new EventSource(${quote(request.url)});
let text = '';
${EVENTS[request.format]}
`;
}

const json = (text, end) => `source.onmessage = event => {
    if (event.data === '[DONE]') return source.close();
    const value = JSON.parse(event.data);
    text += ${text} ?? '';
    if (${end}) source.close();
};
source.onerror = () => { source.close(); console.error('cut'); };`;

// By format: what is to be heard, and when to stop, without which the browser would ask again.
const EVENTS = {
    'sse-text': `source.onmessage = event => { text += event.data; };
source.addEventListener('done', () => { source.close(); console.log(text); });
source.addEventListener('error', event => { source.close(); console.error(event.data ?? 'cut'); });`,
    'sse-json': `source.onmessage = event => {
    const value = JSON.parse(event.data);
    text += value.text ?? '';
    if (value.done) { source.close(); console.log(text); }
};
source.addEventListener('error', event => { source.close(); console.error(event.data ?? 'cut'); });`,
    'openai-chat': json('value.choices[0]?.delta.content', 'value.error'),
    'openai-completions': json('value.choices[0]?.text', 'value.error'),
    'vercel-ui': json('value.delta', "value.type === 'error'"),
    'mlflow': json('value.choices[0]?.delta.content', 'value.choices[0]?.finish_reason'),
    'gemini': json("value.candidates?.[0]?.content?.parts?.[0]?.text", 'value.candidates?.[0]?.finishReason'),
    'ag-ui': json("(value.type === 'TEXT_MESSAGE_CONTENT' ? value.delta : '')",
        "value.type === 'RUN_FINISHED' || value.type === 'RUN_ERROR'"),
};

/** A JavaScript string literal: JSON is one. */
function quote(text) {
    const double = JSON.stringify(text);
    return /['\\]/.test(text) || double.length !== text.length + 2 ? double : "'" + text + "'";
}
