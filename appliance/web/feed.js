// What the device says about its streams: /web/streams.json, every two seconds while the page is seen.

const INTERVAL_MS = 2000;
const LOCKED_INTERVAL_MS = 10000;
const TIMEOUT_MS = 6000;
const SLACK_MS = 1000; // of an answer on its way
const STORE = 'porthole-credentials';
const NOBODY = { user: '', secret: '' };

function stored() {
  try {
    return JSON.parse(sessionStorage.getItem(STORE)) || NOBODY;
  } catch (error) {
    return NOBODY;
  }
}

// RFC 7617 with UTF-8, RFC 6750.
export function authorization({ user, secret }) {
  if (!secret) return {};
  if (!user) return { Authorization: `Bearer ${secret}` };
  const bytes = new TextEncoder().encode(`${user}:${secret}`);
  return { Authorization: `Basic ${btoa(String.fromCharCode(...bytes))}` };
}

// Answers come as `onAnswer({state, streams, …})` with state ok, locked, refused or unreachable.
export class Feed {
  constructor(onAnswer) {
    this.onAnswer = onAnswer;
    this.credentials = stored(); // a key, or a user and a password; gone with the window
    this.wrong = false; // the last ones given were refused
    this.last = null; // the last good answer
    this.answeredAt = 0; // performance.now() of it
    this._offset_ms = 0; // the device's clock minus ours
    this._rtt_ms = Infinity;
    this._timer = 0;
    this._busy = false;
    this._again = false; // somebody wants a newer answer than the one on its way
    document.addEventListener('visibilitychange', () => this.refresh());
    window.addEventListener('online', () => this.refresh());
    window.addEventListener('pageshow', () => this.refresh());
  }

  // The device's wall clock in milliseconds; null before the first answer.
  now() {
    return this.last ? Date.now() + this._offset_ms : null;
  }

  // How much older every age is than the last answer said, once the next one is overdue: between
  // two answers in time nothing is known to be late.
  overdue_ms() {
    if (!this.last) return 0;
    return Math.max(0, performance.now() - this.answeredAt - INTERVAL_MS - SLACK_MS);
  }

  setCredentials(user, secret) {
    this.credentials = { user: user.trim(), secret: secret.trim() };
    this.wrong = false;
    this._store();
    this.refresh();
  }

  _store() {
    try {
      sessionStorage.setItem(STORE, JSON.stringify(this.credentials));
    } catch (error) {
      // Storage is off: they live as long as the page.
    }
  }

  // A media address as native players need it; the device answers with a token of its own.
  withCredentials(path) {
    const { user, secret } = this.credentials;
    if (!secret) return path;
    const query = user ? { user, password: secret } : { key: secret };
    return `${path}?${new URLSearchParams(query)}`;
  }

  async refresh() {
    clearTimeout(this._timer);
    this._again = this._busy;
    if (document.hidden || this._busy) return;
    this._busy = true;
    const answer = await this._ask(this.credentials);
    this._busy = false;
    clearTimeout(this._timer);
    if (this._again) {
      this.refresh();
      return;
    }
    const wait_ms = answer.state === 'locked' ? LOCKED_INTERVAL_MS : INTERVAL_MS;
    this._timer = setTimeout(() => this.refresh(), wait_ms);
    this.onAnswer(answer);
  }

  async _ask(credentials) {
    const abort = new AbortController();
    const deadline = setTimeout(() => abort.abort(), TIMEOUT_MS);
    const headers = authorization(credentials);
    const sent = performance.now();
    try {
      const response = await fetch('/web/streams.json', {
        headers, signal: abort.signal, cache: 'no-store', credentials: 'same-origin',
      });
      if (response.status === 401) return this._lock(credentials);
      if (response.status === 403) return { state: 'refused', reason: (await response.json()).error };
      if (!response.ok) return { state: 'unreachable' };
      const answer = await response.json();
      this._setClock(answer.now_unix_ms, performance.now() - sent);
      this.last = answer;
      this.answeredAt = performance.now();
      return { state: 'ok', ...answer };
    } catch (error) {
      return { state: 'unreachable' };
    } finally {
      clearTimeout(deadline);
    }
  }

  // Wrong ones are shown once and forgotten: every further try would count as another guess.
  _lock(credentials) {
    if (credentials.secret && credentials === this.credentials) {
      this.wrong = true;
      this.credentials = NOBODY;
      this._store();
    }
    return { state: 'locked' };
  }

  // The quickest answer knows the clock best; a far jump means that somebody set one of the two.
  _setClock(now_unix_ms, rtt_ms) {
    const offset_ms = now_unix_ms + rtt_ms / 2 - Date.now();
    if (rtt_ms < this._rtt_ms || Math.abs(offset_ms - this._offset_ms) > 1000) {
      this._rtt_ms = rtt_ms;
      this._offset_ms = offset_ms;
    } else {
      this._rtt_ms *= 1.05;
    }
  }
}
