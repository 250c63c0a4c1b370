// Which view is shown, how the page asks this server, and the token that it may want.

import {startPlay} from './play.js';
import {startLive} from './live.js';

const TOKEN = 'sluice-admin-token';
export const byId = name => document.getElementById(name);

/** An answer of the server's own that is no success. */
export class Refusal extends Error {
    constructor(status, message) {
        super(message);
        this.status = status;
    }
}

/** Asks this server, with the admin token if one is known. A 401 shows the form for it. */
export async function api(path, options = {}) {
    const headers = new Headers(options.headers);
    const token = sessionStorage.getItem(TOKEN);
    if (token) headers.set('Authorization', 'Bearer ' + token);
    const response = await fetch('api/' + path, {...options, headers, cache: 'no-store'});
    if (response.ok) return response;
    const said = await response.json().catch(() => ({}));
    if (response.status === 401) askForToken(token !== null);
    throw new Refusal(response.status, said?.error?.message ?? 'status ' + response.status);
}

export function tell(problem) {
    byId('problem').textContent = problem ?? '';
    byId('problem').hidden = !problem;
}

function askForToken(wasWrong) {
    sessionStorage.removeItem(TOKEN);
    byId('token-form').hidden = false;
    byId('play').hidden = byId('live').hidden = true;
    if (wasWrong) tell('This token was refused.');
    if (document.activeElement !== byId('token')) byId('token').focus();
}

let session = null, live = null;

async function begin() {
    try {
        session = await (await api('routes')).json();
    } catch (error) {
        if (error.status !== 401) tell('This server does not answer: ' + error.message);
        return;
    }
    const wasLocked = !byId('token-form').hidden;
    byId('token-form').hidden = true;
    tell();
    byId('version').textContent = session.version;
    byId('where').textContent = session.mode === 'demo' ? 'demo upstream, canned answers' : 'admin listener';
    startPlay(session);
    live = startLive(session);
    show();
    // The form had the focus, and is gone.
    if (wasLocked) byId('main').focus();
}

function show() {
    if (!session || !byId('token-form').hidden) return;
    // What is no view is a place in the one that is shown.
    const isView = ['', '#play', '#live'].includes(location.hash);
    if (!isView && !(byId('play').hidden && byId('live').hidden)) return;
    const isLive = location.hash === '#live';
    byId('play').hidden = isLive;
    byId('live').hidden = !isLive;
    for (const [link, isCurrent] of [[byId('to-play'), !isLive], [byId('to-live'), isLive]]) {
        if (isCurrent) link.setAttribute('aria-current', 'page'); else link.removeAttribute('aria-current');
    }
    document.title = (isLive ? 'Live' : 'Playground') + ' – Sluice';
    live.setShown(isLive);
}

byId('token-form').addEventListener('submit', event => {
    event.preventDefault();
    // What a header cannot carry is no token either.
    const token = byId('token').value.trim();
    byId('token').value = '';
    if (!/^[\x21-\x7e]+$/.test(token)) return tell('This is no token.');
    sessionStorage.setItem(TOKEN, token);
    tell();
    begin();
});
addEventListener('hashchange', show);
begin();
