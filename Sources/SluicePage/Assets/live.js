// The live view: what the server says of itself each second, and the rates that follow from two of its counts.

import {api, byId} from './page.js';

const INTERVAL = 1000, BACKGROUND = 4000, WINDOW = 10000, SLOW_CLIENT = 1000, SILENT = 5000;

/** Begins to ask; `setShown` says whether anybody looks. */
export function startLive(session) {
    view?.stop();
    view = new LiveView(session);
    return view;
}

let view = null;

class LiveView {
    constructor(session) {
        this.isShown = false;
        this.samples = [];
        this.isStopped = false;
        this.streams = new KeyedTable(byId('streams'), streamColumns(session.may_cancel), stream => stream.id);
        this.routes = new KeyedTable(byId('routes'), rateColumns('route', 'Route'), item => item.route);
        this.upstreams = new KeyedTable(byId('upstreams'), rateColumns('upstream', 'Upstream'), item => item.upstream);
        this.onVisible = () => { if (!document.hidden) this.poll(); };
        document.addEventListener('visibilitychange', this.onVisible);
        this.poll();
    }

    stop() {
        this.isStopped = true;
        clearTimeout(this.timer);
        document.removeEventListener('visibilitychange', this.onVisible);
    }

    setShown(isShown) {
        const isNew = isShown && !this.isShown;
        this.isShown = isShown;
        if (isNew) this.poll();
    }

    async poll() {
        clearTimeout(this.timer);
        if (this.isAsking || this.isStopped) return;
        this.isAsking = true;
        try {
            const told = await (await api('live')).json();
            if (!this.isStopped) this.show(told);
        } catch (error) {
            // Without a token nothing more is asked until there is one.
            if (error.status === 401) return this.stop();
            byId('live-feed').textContent = 'lost, trying again';
            byId('live-feed').className = 'bad';
        } finally {
            this.isAsking = false;
        }
        if (!document.hidden && !this.isStopped) {
            this.timer = setTimeout(() => this.poll(), this.isShown ? INTERVAL : BACKGROUND);
        }
    }

    show(told) {
        byId('live-count').textContent = told.total || '';
        this.samples.push(told);
        // The oldest is just beyond the window, so that rates are over all of it.
        while (this.samples.length > 2 && told.time_ms - this.samples[1].time_ms >= WINDOW) this.samples.shift();
        if (this.isShown) this.draw(told);
    }

    draw(told) {
        const before = this.samples[0];
        const seconds = (told.time_ms - before.time_ms) / 1000;
        withRates(told.routes, before.routes, 'route', seconds);
        withRates(told.upstreams, before.upstreams, 'upstream', seconds);
        const sum = name => told.routes.reduce((total, route) => total + (route[name] ?? 0), 0);
        set('live-streams', told.total);
        set('live-requests', seconds > 0 ? rate(sum('requestRate')) : '–');
        set('live-tokens', seconds > 0 ? rate(sum('tokenRate')) : '–');
        set('live-errors', seconds > 0 ? rate(sum('errorRate')) : '–', sum('errorRate') > 0 ? 'bad' : '');
        set('live-connections', told.connections);
        set('live-buffered', bytes(told.buffered_bytes));
        set('live-uptime', duration(told.uptime_s * 1000));
        const missing = told.workers_missing.length;
        const feed = told.draining ? 'draining' : missing ? `${missing} workers silent` : 'live';
        set('live-feed', feed, missing ? 'bad' : 'good');
        this.streams.update(told.streams);
        this.routes.update(told.routes);
        this.upstreams.update(told.upstreams);
        const listed = told.streams.length;
        byId('streams-note').textContent = told.total > listed ? `the oldest ${listed} of ${told.total}` : '';
        bars('first', told.first_token);
        bars('gaps', told.gap);
    }
}

function set(name, text, kind = '') {
    byId(name).textContent = text;
    byId(name).className = kind;
}

function withRates(items, before, key, seconds) {
    const old = new Map(before.map(item => [item[key], item]));
    for (const item of items) {
        const then = old.get(item[key]) ?? {begun: 0, tokens: 0, failed: 0};
        // Counts of streams that have just ended are the provider's, and may be below what was seen of them.
        const per = name => seconds > 0 ? Math.max(0, item[name] - then[name]) / seconds : 0;
        [item.requestRate, item.tokenRate, item.errorRate] = [per('begun'), per('tokens'), per('failed')];
    }
}

// ---- Tables

/** A table whose rows stay the same elements as long as their items are there, so that focus and selection stay too. */
class KeyedTable {
    constructor(table, columns, keyOf) {
        [this.columns, this.keyOf, this.rows] = [columns, keyOf, new Map()];
        this.empty = byId(table.id + '-empty');
        this.table = table;
        const head = element('tr', {role: 'row'});
        for (const column of columns) {
            const cell = element('th', {role: 'columnheader', scope: 'col', class: column.kind ?? ''});
            cell.textContent = column.label;
            head.append(cell);
        }
        this.body = element('tbody', {role: 'rowgroup'});
        const top = element('thead', {role: 'rowgroup'});
        top.append(head);
        table.replaceChildren(top, this.body);
    }

    update(items) {
        const gone = new Set(this.rows.keys());
        for (const [index, item] of items.entries()) {
            const key = this.keyOf(item);
            gone.delete(key);
            const row = this.rows.get(key) ?? this.add(key);
            const there = this.body.children[index] ?? null;
            if (there !== row.element) this.body.insertBefore(row.element, there);
            row.item = item;
            this.fill(row);
        }
        for (const key of gone) this.remove(key);
        this.table.hidden = items.length === 0;
        this.empty.hidden = items.length > 0;
    }

    add(key) {
        const row = {element: element('tr', {role: 'row'}), cells: []};
        for (const column of this.columns) {
            const cell = element('td', {role: 'cell', class: column.kind ?? '', 'data-label': column.label});
            if (column.make) cell.append(column.make(row));
            row.cells.push(cell);
            row.element.append(cell);
        }
        this.rows.set(key, row);
        return row;
    }

    fill(row) {
        let isSlow = false;
        for (const [index, column] of this.columns.entries()) {
            if (!column.text) continue;
            const [text, kind] = [column.text(row.item)].flat();
            const cell = row.cells[index];
            if (cell.textContent !== String(text)) cell.textContent = text;
            const absent = text === '–' || text === '' ? 'nothing' : '';
            cell.className = [column.kind ?? '', kind ?? '', absent].join(' ').trim();
            isSlow ||= kind === 'bad' && column.marks === true;
        }
        row.element.classList.toggle('slow', isSlow);
    }

    remove(key) {
        const {element: row} = this.rows.get(key);
        const hadFocus = row.contains(document.activeElement);
        const next = row.nextElementSibling ?? row.previousElementSibling;
        row.remove();
        this.rows.delete(key);
        if (hadFocus) (next?.querySelector('button') ?? byId('main')).focus();
    }
}

function element(name, attributes) {
    const made = document.createElement(name);
    for (const [key, value] of Object.entries(attributes)) if (value !== '') made.setAttribute(key, value);
    return made;
}

function streamColumns(mayCancel) {
    const columns = [
        {label: 'Route', kind: 'wide long', text: stream => stream.route || '–'},
        {label: 'Upstream', text: stream => stream.upstream || '–'},
        {label: 'Format', text: stream => stream.format},
        {label: 'Model', kind: 'wide long', text: stream => stream.model || '–'},
        {label: 'Client', text: stream => stream.client ?? '–'},
        {label: 'Request', kind: 'wide long id', text: stream => stream.request_id ?? '–'},
        {label: 'State', kind: 'wide long', text: condition, marks: true},
        {label: 'Age', kind: 'number', text: stream => duration(stream.age_ms)},
        {label: 'First token', kind: 'number', text: ({first_token_ms: time}) => time === null ? '–' : time + ' ms'},
        {label: 'Tokens', kind: 'number', text: stream => stream.tokens},
        {label: 'Tokens/s', kind: 'number', text: stream => stream.tokens_per_second ?? '–'},
        {label: 'Sent', kind: 'number', text: stream => bytes(stream.bytes_sent)},
        {label: 'Buffered', kind: 'number', text: stream => stream.buffered_bytes ? bytes(stream.buffered_bytes) : '–'},
    ];
    if (mayCancel) columns.push({label: 'Action', kind: 'bare', make: cancelButton});
    return columns;
}

/** What a stream does, and who keeps it. */
function condition(stream) {
    if (stream.paused || stream.client_stall_ms > SLOW_CLIENT) {
        const since = stream.client_stall_ms > SLOW_CLIENT ? ' for ' + duration(stream.client_stall_ms) : '';
        return ['slow client' + since + (stream.paused ? ', provider paused' : ''), 'bad'];
    }
    if (stream.silence_ms > SILENT) return ['provider silent for ' + duration(stream.silence_ms), 'bad'];
    if (stream.first_token_ms === null && stream.age_ms > SILENT) {
        return [words(stream.state) + ' for ' + duration(stream.age_ms), 'bad'];
    }
    return [words(stream.state), ''];
}

const words = state => state.replaceAll('_', ' ');

function cancelButton(row) {
    const button = element('button', {type: 'button', class: 'small'});
    button.textContent = 'Cancel';
    button.addEventListener('click', async () => {
        // Not `disabled`, which would take the focus away from who came by keyboard.
        if (button.ariaDisabled) return;
        const {id, route} = row.item;
        button.ariaDisabled = true;
        try {
            await api(`streams/${encodeURIComponent(id)}/cancel`, {method: 'POST'});
            set('cancel-status', `Stream ${id} on ${route} is cancelled.`, 'hint');
        } catch (error) {
            set('cancel-status', `Stream ${id}: ${error.message}`, 'hint bad');
            button.ariaDisabled = null;
        }
        view?.poll();
    });
    Object.defineProperty(row, 'item', {
        get: () => row.current,
        set(item) {
            row.current = item;
            button.setAttribute('aria-label', `Cancel stream ${item.id} on ${item.route}`);
        },
    });
    return button;
}

function rateColumns(key, label) {
    const columns = [
        {label, kind: 'wide long', text: item => item[key] || '(none)'},
        {label: 'Active', kind: 'number', text: item => item.active},
        {label: 'Requests/s', kind: 'number', text: item => rate(item.requestRate)},
        {label: 'Tokens/s', kind: 'number', text: item => rate(item.tokenRate)},
        {label: 'Errors/s', kind: 'number', text: item => [rate(item.errorRate), item.errorRate > 0 ? 'bad' : '']},
        {label: 'Requests', kind: 'number', text: item => item.begun.toLocaleString('en')},
        {label: 'Errors', kind: 'number', text: item => item.failed.toLocaleString('en')},
        {label: 'Tokens', kind: 'number', text: item => item.tokens.toLocaleString('en')},
    ];
    if (key === 'upstream') columns.push({label: 'Places', kind: 'wide long', text: item => {
        const bad = item.places.filter(place => !place.healthy);
        return bad.length ? [bad.map(place => place.address || 'one').join(', ') + ' down', 'bad'] : ['well', 'good'];
    }});
    return columns;
}

// ---- Histograms

const SVG = 'http://www.w3.org/2000/svg';

/** Bars of the buckets that hold anything, and those between. */
function bars(name, histogram) {
    const svg = byId(name + '-bars'), {bounds_ms: bounds, counts} = histogram;
    const total = counts.reduce((sum, count) => sum + count, 0);
    const streams = total === 1 ? 'one stream' : total.toLocaleString('en') + ' streams';
    byId(name + '-note').textContent = total === 0 ? 'no stream has ended yet' :
        `${streams}; half ${within(histogram, .5)}, 95 % ${within(histogram, .95)}`;
    const first = Math.max(0, counts.findIndex(count => count > 0) - 1);
    const last = Math.min(counts.length - 1, counts.findLastIndex(count => count > 0) + 1);
    const width = svg.clientWidth || 300, height = 152, top = 16, base = height - 20;
    svg.setAttribute('viewBox', `0 0 ${width} ${height}`);
    if (total === 0) return svg.replaceChildren();
    const shown = counts.slice(first, last + 1), step = width / shown.length, most = Math.max(...shown);
    const every = Math.ceil(50 / step), half = Math.min(step * .38, 28);
    svg.replaceChildren(...shown.flatMap((count, index) => {
        const tall = count === 0 ? 0 : Math.max(2, (base - top) * count / most);
        const x = index * step, middle = x + step / 2;
        const label = index % every ? '' : first + index < bounds.length ? '≤ ' + short(bounds[first + index]) : 'more';
        return [
            mark('rect', {x: middle - half, y: base - tall, width: 2 * half, height: tall, rx: 2}),
            mark('rect', {x, y: base, width: step, height: 1, class: 'base'}),
            mark('text', {x: middle, y: base - tall - 4, class: 'count'}, count ? count.toLocaleString('en') : ''),
            mark('text', {x: middle, y: height - 5}, label),
        ];
    }));
}

function within({bounds_ms: bounds, counts}, share) {
    const total = counts.reduce((sum, count) => sum + count, 0);
    let sum = 0;
    const index = counts.findIndex(count => (sum += count) >= share * total);
    return index < bounds.length ? 'within ' + short(bounds[index]) : 'beyond ' + short(bounds.at(-1));
}

function mark(name, attributes, text = '') {
    const made = document.createElementNS(SVG, name);
    for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
    made.textContent = text;
    return made;
}

// ---- Numbers

const short = milliseconds => milliseconds < 1000 ? milliseconds + ' ms' : milliseconds / 1000 + ' s';
const rate = value => value === 0 ? '0' : value < 10 ? value.toFixed(1) : Math.round(value).toLocaleString('en');

function bytes(count) {
    if (count < 1024) return count + ' B';
    if (count < 1 << 20) return (count / 1024).toFixed(1) + ' KiB';
    return (count / (1 << 20)).toFixed(1) + ' MiB';
}

function duration(milliseconds) {
    const seconds = milliseconds / 1000;
    if (seconds < 60) return (seconds < 10 ? seconds.toFixed(1) : Math.round(seconds)) + ' s';
    const minutes = Math.floor(seconds / 60), hours = Math.floor(minutes / 60);
    if (hours >= 48) return Math.floor(hours / 24) + ' d';
    return hours ? `${hours} h ${minutes % 60} min` : `${minutes} min ${Math.floor(seconds % 60)} s`;
}
