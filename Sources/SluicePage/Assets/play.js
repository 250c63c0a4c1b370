// The playground: one request at a time, its text, its frames and their times.

import {api, byId, tell} from './page.js';
import {ENDLESS, FrameCutter, framingOf, meaning, requestBody} from './formats.js';
import {curl, eventSourceCode, fetchCode} from './snippets.js';

const FRAME_LIMIT = 2000, FRAME_LENGTH = 4000;
let session, control = null, isBodyEdited = false, hasBegun = false;

export function startPlay(given) {
    session = given;
    const labels = session.routes.map(route => [route, routeLabel(route)]);
    byId('route').replaceChildren(...labels.map(([, label], index) => option(index, label)));
    const first = session.routes.findIndex(route => route.response === 'auto');
    byId('route').value = Math.max(0, first);
    if (!hasBegun) listen();
    hasBegun = true;
    routeChosen();
    if (!session.routes.length) tell('No route is configured.');
}

function listen() {
    byId('route').addEventListener('change', routeChosen);
    for (const name of ['format', 'method', 'model', 'rest', 'prompt', 'key', 'language']) {
        byId(name).addEventListener('input', refresh);
    }
    byId('body').addEventListener('input', () => { isBodyEdited = true; refresh(); });
    byId('body-reset').addEventListener('click', () => { isBodyEdited = false; refresh(); });
    byId('ask').addEventListener('submit', event => { event.preventDefault(); send(); });
    byId('stop').addEventListener('click', () => control?.abort());
    byId('copy').addEventListener('click', copy);
    byId('play').addEventListener('keydown', event => {
        if (event.key === 'Enter' && (event.ctrlKey || event.metaKey)) { event.preventDefault(); send(); }
        if (event.key === 'Escape') control?.abort();
    });
}

function option(value, text) {
    const made = document.createElement('option');
    [made.value, made.textContent] = [value, text];
    return made;
}

// ---- What is asked

function routeLabel(route) {
    const formats = route.request === route.response ? route.request : route.request + ' → ' + route.response;
    return (route.host ?? '') + route.path + (route.prefix ? '*' : '') + '  ' + formats;
}

const chosenRoute = () => session.routes[byId('route').value];

function routeChosen() {
    const route = chosenRoute();
    if (!route) return;
    const formats = route.response === 'auto' ? session.formats : [route.response];
    byId('format').replaceChildren(...formats.map(format => option(format, format)));
    byId('format').disabled = formats.length === 1;
    byId('format').value = [route.request, 'sse-text', formats[0]].find(format => formats.includes(format));
    const allowed = route.methods.length ? route.methods : route.request === 'prompt' ? ['POST', 'GET'] : ['POST'];
    const methods = ['POST', 'GET'].filter(method => allowed.includes(method));
    byId('method').replaceChildren(...(methods.length ? methods : ['POST']).map(method => option(method, method)));
    byId('method-box').hidden = methods.length < 2;
    byId('rest-box').hidden = !route.prefix;
    byId('rest').value = route.request === 'gemini' ? 'demo:streamGenerateContent?alt=sse' : '';
    byId('model').value = '';
    byId('model').disabled = route.model !== null;
    byId('model').placeholder = route.model ?? 'the default';
    byId('model-box').hidden = ['gemini', 'ag-ui', 'passthrough'].includes(route.request);
    byId('key-box').hidden = !route.auth;
    isBodyEdited = false;
    const facts = ['to ' + (route.upstreams.join(', then ') || 'no upstream')];
    if (route.host) facts.push('host ' + route.host);
    if (route.conditions.length) facts.push('when ' + route.conditions.join(' and '));
    if (route.auth) facts.push('needs a client key');
    byId('route-facts').textContent = facts.join(' · ');
    refresh();
}

/** The request as chosen, for the network and for the snippets. */
function build() {
    const route = chosenRoute();
    const [method, model] = [byId('method').value, byId('model').value.trim()];
    const prompt = byId('prompt').value.toWellFormed();
    const query = new URLSearchParams();
    let target = route.path + (route.prefix ? encodeURI(byId('rest').value.toWellFormed().replace(/^\//, '')) : '');
    let body = '';
    if (method === 'GET') {
        if (route.request === 'prompt') query.set('prompt', prompt);
        if (model) query.set('model', model);
    } else if (isBodyEdited) {
        body = byId('body').value;
    } else {
        const made = requestBody(route.request, prompt, model) ?? requestBody('openai-chat', prompt, model);
        byId('body').value = JSON.stringify(made, null, 2);
        body = JSON.stringify(made);
    }
    if (route.response === 'auto') query.set('format', byId('format').value);
    if (query.size) target += (target.includes('?') ? '&' : '?') + query;
    const {origin, socket, host} = place(route);
    return {
        method, target, body, host, socket, url: origin + target, needsKey: route.auth, format: byId('format').value,
        headers: body ? {'Content-Type': 'application/json'} : {},
    };
}

/** Where clients reach the route: for the snippets, and for the demo's page itself. */
function place(route) {
    const host = route.host;
    if (session.mode === 'demo') return {origin: location.origin, host: null};
    const listener = session.listeners.find(each => !each.address.startsWith('unix:')) ?? session.listeners[0];
    if (!listener) return {origin: 'http://localhost', host};
    const scheme = listener.tls ? 'https://' : 'http://';
    if (listener.address.startsWith('unix:')) {
        return {origin: scheme + 'localhost', socket: listener.address.slice(5), host};
    }
    const cut = listener.address.lastIndexOf(':');
    const bound = listener.address.slice(0, cut), port = listener.address.slice(cut);
    const name = ['0.0.0.0', '[::]'].includes(bound) ? location.hostname : bound;
    return {origin: scheme + name + port, host};
}

function refresh() {
    if (!chosenRoute()) return;
    const request = build();
    const isGet = request.method === 'GET';
    byId('body-box').hidden = isGet;
    byId('body-state').textContent = isBodyEdited ? '(edited)' : '';
    byId('body-reset').disabled = !isBodyEdited;
    const language = byId('language').value;
    const hint = request.needsKey ? 'Put your client key into ' + (language === 'curl' ? '$SLUICE_KEY.' : 'key.') : '';
    let code = '';
    if (language === 'curl') code = curl(request);
    if (language === 'fetch') code = fetchCode(request);
    if (language === 'events') code = eventSourceCode(request);
    byId('snippet').textContent = code ?? '';
    byId('snippet').hidden = byId('copy').disabled = code === null;
    byId('snippet-hint').textContent = code !== null ? hint :
        'An EventSource can only GET, reads nothing but event streams and sends no key: choose a route that takes ' +
        'a prompt by GET, the method GET, and a format such as sse-text.';
}

async function copy() {
    const code = byId('snippet').textContent;
    try {
        await navigator.clipboard.writeText(code);
    } catch {
        // Pages that did not come over TLS or from this machine have no clipboard of their own.
        const range = document.createRange();
        range.selectNodeContents(byId('snippet'));
        getSelection().removeAllRanges();
        getSelection().addRange(range);
        document.execCommand('copy');
    }
    byId('snippet-hint').textContent = 'Copied.';
}

// ---- What is answered

/** Everything that is shown of one answer. */
class Answer {
    constructor(format) {
        this.format = format;
        this.started = performance.now();
        [this.bytes, this.frames, this.tokens, this.counted] = [0, 0, 0, null];
        [this.first, this.last, this.lastFrame, this.gap] = [null, null, null, null];
        [this.isEnded, this.error, this.times, this.drawn] = [false, null, [], 0];
        this.text = document.createTextNode('');
        byId('answer').replaceChildren();
        byId('frames').replaceChildren();
        byId('ticks').setAttribute('d', '');
        byId('frames-more').hidden = byId('failure').hidden = true;
        byId('answer-head').textContent = '';
        for (const name of ['ttft', 'rate', 'tokens', 'gap', 'count', 'bytes', 'total']) byId(name).textContent = '–';
    }

    head(status, fields) {
        this.status = status;
        const type = fields.get('content-type') ?? '';
        // What is no stream of that format is shown as it is: an error's document, above all.
        this.framing = framingOf(type, fields);
        if (status < 200 || status > 299 || type.startsWith('application/json')) {
            [this.framing, this.format] = ['pieces', 'passthrough'];
        }
        this.cutter = new FrameCutter(this.framing);
        this.stream = fields.get('x-stream-id') ?? null;
        byId('answer-head').textContent = `${status} ${type}`;
    }

    take(text, at) { for (const frame of this.cutter.push(text)) this.frame(frame, at); }

    frame(raw, at) {
        const found = meaning(raw, this.framing, this.format);
        if (found.text !== undefined && this.status < 300) {
            this.tokens += 1;
            if (this.last !== null) this.gap = Math.max(this.gap ?? 0, at - this.last);
            [this.first, this.last] = [this.first ?? at, at];
            if (!this.text.isConnected) byId('answer').append(this.text);
            const box = byId('answer'), follows = box.scrollTop + box.clientHeight > box.scrollHeight - 40;
            this.text.appendData(found.text);
            if (follows) box.scrollTop = box.scrollHeight;
        }
        if (found.error !== undefined) this.error = String(found.error);
        this.isEnded ||= found.end === true;
        this.counted = found.tokens ?? this.counted;
        this.frames += 1;
        this.row(raw, at, found.text === undefined);
        this.lastFrame = at;
    }

    row(raw, at, isSilent) {
        if (this.frames > FRAME_LIMIT) {
            byId('frames-more').hidden = false;
            byId('frames-more').textContent = `${this.frames - FRAME_LIMIT} more frames are not listed.`;
            return;
        }
        this.times.push(at);
        const row = document.createElement('tr');
        if (isSilent) row.className = 'silent';
        const gap = this.lastFrame === null ? '' : '+' + Math.round(at - this.lastFrame);
        const bytes = new TextEncoder().encode(raw).length;
        const shown = raw.length > FRAME_LENGTH ? raw.slice(0, FRAME_LENGTH) + '…' : raw.replace(/[\r\n]+$/, '');
        for (const text of [Math.round(at), gap, bytes, shown]) {
            row.append(Object.assign(document.createElement('td'), {textContent: text}));
        }
        const box = byId('frames-box'), follows = box.scrollTop + box.clientHeight > box.scrollHeight - 60;
        byId('frames').append(row);
        if (follows) box.scrollTop = box.scrollHeight;
    }

    show(at, isOver) {
        const seconds = (this.last - this.first) / 1000;
        byId('ttft').textContent = this.first === null ? '–' : milliseconds(this.first);
        byId('tokens').textContent = this.counted ?? (this.tokens ? this.tokens + ' seen' : '–');
        byId('rate').textContent = this.tokens > 1 && seconds > 0 ? ((this.tokens - 1) / seconds).toFixed(1) : '–';
        byId('gap').textContent = this.gap === null ? '–' : milliseconds(this.gap);
        byId('count').textContent = this.frames;
        byId('bytes').textContent = this.bytes.toLocaleString('en');
        byId('total').textContent = milliseconds(at);
        if (!isOver && at - this.drawn < 100) return;
        this.drawn = at;
        byId('cadence').setAttribute('viewBox', `0 0 ${Math.max(1, at)} 1`);
        byId('ticks').setAttribute('d', this.times.map(time => `M${time.toFixed(1)} 0V1`).join(''));
    }

    finish(state, problem = null) {
        setState(state, problem !== null || this.error !== null ? 'bad' : state === 'done' ? 'good' : '');
        const said = problem ?? this.error;
        byId('failure').hidden = said === null;
        byId('failure').textContent = said ?? '';
        this.show(performance.now() - this.started, true);
    }
}

function milliseconds(value) {
    return value < 9999.5 ? Math.round(value) + ' ms' : (value / 1000).toFixed(1) + ' s';
}

function setState(text, kind = '') {
    byId('state').textContent = text;
    byId('state').className = kind;
}

async function send() {
    if (!chosenRoute()) return;
    control?.abort();
    const own = control = new AbortController();
    const request = build();
    const answer = new Answer(request.format);
    byId('stop').disabled = false;
    setState('waiting');
    try {
        await read(await open(request, own.signal), answer);
    } catch (error) {
        if (control !== own) return;
        if (own.signal.aborted) {
            answer.finish('stopped');
            stopStream(request, answer.stream);
        } else if (answer.cutter || error.isCut) {
            answer.finish('cut off', answer.error ?? 'The stream broke off: what stands here is not the whole answer.');
        } else {
            answer.finish('failed', error.message);
        }
    } finally {
        if (control === own) {
            control = null;
            byId('stop').disabled = true;
        }
    }

    /** Ends what a later request has replaced. */
    async function read({status, fields, reader, rest}, answer) {
        answer.head(status, fields);
        if (status < 300) setState('streaming');
        const decoder = new TextDecoder('utf-8', {ignoreBOM: true});
        for (let part = {value: rest}; !part.done; part = await reader.read()) {
            if (control !== own) return;
            const at = performance.now() - answer.started;
            answer.bytes += part.value.length;
            answer.take(decoder.decode(part.value, {stream: true}), at);
            answer.show(at, false);
        }
        if (control !== own) return;
        answer.take(decoder.decode(), performance.now() - answer.started);
        for (const frame of answer.cutter.finish()) answer.frame(frame, performance.now() - answer.started);
        conclude(answer);
    }
}

function conclude(answer) {
    const {status} = answer;
    if (status > 299) return answer.finish('failed: ' + status, answer.error ?? 'status ' + status);
    if (answer.error !== null) return answer.finish('failed');
    if (answer.isEnded || ENDLESS.has(answer.format)) return answer.finish('done');
    answer.finish('cut off', 'The body ended without the mark that ends this format.');
}

/** What outlives its connection for a while is told to stop. */
function stopStream(request, stream) {
    if (!stream) return;
    const target = request.target.split('?')[0] + '/' + encodeURIComponent(stream);
    open({...request, method: 'DELETE', target, body: '', headers: {}}, undefined).catch(() => {});
}

/** The route's status, its fields, and a reader of its body. */
async function open(request, signal) {
    const headers = {...request.headers};
    const key = byId('key').value.trim();
    if (request.needsKey && key) headers.Authorization = 'Bearer ' + key;
    if (session.mode === 'demo') {
        const {method, target, body} = request;
        const options = {method, headers, body: body || undefined, signal, redirect: 'manual', cache: 'no-store'};
        const response = await fetch(target, options);
        const {status, headers: fields} = response;
        return {status, fields, reader: response.body.getReader(), rest: new Uint8Array()};
    }
    const {method, target, host, body} = request;
    const response = await api('call', {
        method: 'POST', signal, headers: {'Content-Type': 'application/json'},
        body: JSON.stringify({method, target, host: host ?? '', headers, body}),
    });
    try {
        return await openRelayed(response.body.getReader());
    } catch (error) {
        throw Object.assign(error, {isCut: true});
    }
}

/** The first line of a relayed answer is its head. */
async function openRelayed(reader) {
    let bytes = new Uint8Array();
    for (;;) {
        const end = bytes.indexOf(10);
        if (end >= 0) {
            const head = JSON.parse(new TextDecoder().decode(bytes.subarray(0, end)));
            const fields = new Map(head.fields.map(([name, value]) => [name.toLowerCase(), value]));
            return {status: head.status, fields, reader, rest: bytes.subarray(end + 1)};
        }
        const {done, value} = await reader.read();
        if (done) throw new Error('no answer came');
        const joined = new Uint8Array(bytes.length + value.length);
        joined.set(bytes);
        joined.set(value, bytes.length);
        bytes = joined;
    }
}
