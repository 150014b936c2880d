// What the device says about its streams: /web/streams.json, every two seconds while the page is seen.

const INTERVAL_MS = 2000;
const LOCKED_INTERVAL_MS = 10000;
const TIMEOUT_MS = 6000;
const KEY = 'porthole-key';

function stored() {
  try {
    return sessionStorage.getItem(KEY) || '';
  } catch (error) {
    return '';
  }
}

// Answers come as `onAnswer({state, streams, …})` with state ok, locked, refused or unreachable.
export class Feed {
  constructor(onAnswer) {
    this.onAnswer = onAnswer;
    this.key = stored();
    this.wrong = false; // the last key given was refused
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

  // How much older every age is than the last answer said.
  since_ms() {
    return this.last ? Math.max(0, performance.now() - this.answeredAt) : 0;
  }

  setKey(key) {
    this.key = key.trim();
    this.wrong = false;
    this._store();
    this.refresh();
  }

  _store() {
    try {
      sessionStorage.setItem(KEY, this.key);
    } catch (error) {
      // Storage is off: the key lives as long as the page.
    }
  }

  // A media address with the key, if there is one; the device answers with its own token.
  withKey(path) {
    return this.key ? `${path}?key=${encodeURIComponent(this.key)}` : path;
  }

  async refresh() {
    clearTimeout(this._timer);
    this._again = this._busy;
    if (document.hidden || this._busy) return;
    this._busy = true;
    const answer = await this._ask(this.key);
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

  async _ask(key) {
    const abort = new AbortController();
    const deadline = setTimeout(() => abort.abort(), TIMEOUT_MS);
    const headers = key ? { Authorization: `Bearer ${key}` } : {};
    const sent = performance.now();
    try {
      const response = await fetch('/web/streams.json', {
        headers, signal: abort.signal, cache: 'no-store', credentials: 'same-origin',
      });
      if (response.status === 401) return this._lock(key);
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

  // A wrong key is shown once and forgotten: every further try would count as another guess.
  _lock(key) {
    if (key && key === this.key) {
      this.wrong = true;
      this.key = '';
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
