// One live stream in one <video>: native HLS or hls.js, kept at the live edge and never silently still.
//
// How it works: a tick every half second looks whether `currentTime` moves. Standing still is told
// after STALL_TOLD_MS, mended softly (to the live edge) after STALL_NUDGE_MS and by loading the
// source again, with back-off, after STALL_RELOAD_MS. Errors go straight to the reload.
//
// states: idle, connecting, playing, stalled, reconnecting, paused, blocked (the browser wants a tap
// first), locked (a key is needed), unsupported (this browser cannot decode it).

export const NATIVE = 'native';
export const HLSJS = 'hls';

const TICK_MS = 500;
const STALL_TOLD_MS = 1500;
const STALL_NUDGE_MS = 3500;
const STALL_RELOAD_MS = 7000;
const START_RELOAD_MS = 20000; // the device holds the first request while a source starts
const SETTLED_MS = 10000; // playing this long forgives earlier failures
const FAR_BEHIND_MS = 20000;
const MAX_DELAY_MS = 15000;
const HLS_TYPE = 'application/vnd.apple.mpegurl';

let library = null;

function loadLibrary() {
  if (!library) {
    // A failed import is remembered by the browser under its address: a retry needs another one.
    const load = (retry) => import(`./vendor/hls.mjs${retry}`);
    library = load('').catch(() => load(`?retry=${Date.now()}`)).then((module) => module.default);
    library.catch(() => { library = null; });
  }
  return library;
}

function hasMediaSource() {
  return 'MediaSource' in window || 'ManagedMediaSource' in window;
}

// Safari's own HLS is better than anything above it; elsewhere hls.js knows latency and errors.
// Chromium has native HLS too, but says nothing about its live edge.
export function chooseEngine(wanted) {
  const native = document.createElement('video').canPlayType(HLS_TYPE) !== '';
  if (wanted === NATIVE || wanted === HLSJS) return wanted;
  if (!hasMediaSource()) return native ? NATIVE : null;
  return native && /^Apple/.test(navigator.vendor) ? NATIVE : HLSJS;
}

function libraryConfig(preview) {
  const shared = {
    enableWorker: false, // our fMP4 passes through unchanged, and CSP needs no blob: scripts
    liveDurationInfinity: true,
    lowLatencyMode: true,
    backBufferLength: preview ? 2 : 15,
    liveSyncDurationCount: 2.5, // target durations: half a segment in reserve for Wi-Fi
    liveMaxLatencyDurationCount: 6,
    maxLiveSyncPlaybackRate: 1.08,
  };
  return preview ? { ...shared, maxBufferLength: 6, capLevelToPlayerSize: true, startLevel: 0 } : shared;
}

function delay_ms(failures) {
  return Math.min(MAX_DELAY_MS, 500 * 2 ** Math.min(failures, 6)) * (0.8 + Math.random() * 0.4);
}

export class Playback {
  // url: a function, so that a key given later is used. now: the device's clock or null.
  constructor(video, { url, engine, now, preview, onChange }) {
    this.video = video;
    this.engine = engine;
    this.state = 'idle';
    this.detail = '';
    this.failures = 0;
    this.userPaused = false;
    this._url = url;
    this._now = now || (() => null);
    this._preview = Boolean(preview);
    this._onChange = onChange || (() => {});
    this._hls = null;
    this._load = 0; // grows with every load; late answers to older ones are dropped
    this._timer = 0;
    this._retryTimer = 0;
    this._lastTime = -1;
    this._movedAt = 0;
    this._playingSince = 0;
    this._hiddenAt = 0;
    this._pausedAt = 0;
    this._recoveredAt = 0;
    this._nudged = false;
    this._started = false;
    this._unlisten = [];
    this._listen();
  }

  start() {
    if (this._timer) return;
    this._timer = setInterval(() => this._tick(), TICK_MS);
    this.failures = 0;
    if (!this.engine) this._set('unsupported', 'This browser can play no live streams.');
    else this._attach();
  }

  stop() {
    clearInterval(this._timer);
    this._timer = 0;
    this._detach();
    this._set('idle');
  }

  // After this it is not used again.
  dispose() {
    this.stop();
    this._unlisten.forEach((unlisten) => unlisten());
  }

  // The world changed for the better (stream back, key given, network back): try now, not later.
  retryNow() {
    if (!this._timer || this.state === 'playing' || this.state === 'paused') return;
    this.failures = 0;
    if (this.engine) this._attach();
  }

  pause() {
    this.userPaused = true;
    this.video.pause();
    this._set('paused');
  }

  play() {
    this.userPaused = false;
    this._movedAt = performance.now();
    if (this.state !== 'playing') this._set('connecting');
    this.goLive();
    this._play();
  }

  // {ms, exact}: how far the picture is behind the device's clock, or (not exact) behind the newest
  // that can be had; null where the browser tells neither.
  latency() {
    const { video, _hls: hls } = this;
    const now = this._now();
    if (hls) {
      const date = hls.playingDate;
      if (date && now !== null) return { ms: now - date.getTime(), exact: true };
      return hls.latency > 0 ? { ms: hls.latency * 1000, exact: false } : null;
    }
    const began = video.getStartDate ? video.getStartDate().getTime() : NaN; // Safari only
    if (began > 0 && now !== null) {
      return { ms: now - (began + video.currentTime * 1000), exact: true };
    }
    const behind_ms = this._behind_ms();
    return behind_ms === null ? null : { ms: behind_ms, exact: false };
  }

  goLive() {
    const { video, _hls: hls } = this;
    if (hls) {
      const edge = hls.liveSyncPosition;
      if (edge !== null && edge !== undefined && edge > video.currentTime + 1) video.currentTime = edge;
      return;
    }
    const behind_ms = this._behind_ms();
    if (behind_ms > 1000) {
      video.currentTime = video.seekable.end(video.seekable.length - 1);
    } else if (behind_ms === null && this._pausedAt && performance.now() - this._pausedAt > 8000) {
      this._attach(); // Chromium's native HLS has no seekable range: only a new load gets to the edge
    }
  }

  _behind_ms() {
    const { seekable, currentTime } = this.video;
    if (!seekable.length) return null;
    const end = seekable.end(seekable.length - 1);
    return Number.isFinite(end) ? Math.max(0, (end - currentTime) * 1000) : null;
  }

  // -- loading ---------------------------------------------------------------------------------

  async _attach() {
    this._detach();
    const load = ++this._load;
    this._started = false;
    this._nudged = false;
    this._lastTime = -1;
    this._movedAt = performance.now();
    this._set(this.failures ? 'reconnecting' : 'connecting');
    if (this.engine === NATIVE) {
      this.video.src = this._url();
      this.video.load();
    } else {
      await this._attachLibrary(load);
    }
    if (load === this._load) this._play();
  }

  async _attachLibrary(load) {
    let Hls;
    try {
      Hls = await loadLibrary();
    } catch (error) {
      if (load === this._load) this._retry('The player itself could not be loaded.');
      return;
    }
    if (load !== this._load) return;
    if (!Hls.isSupported()) {
      this._set('unsupported', 'This browser has no Media Source Extensions.');
      return;
    }
    const hls = new Hls(libraryConfig(this._preview));
    this._hls = hls;
    hls.on(Hls.Events.ERROR, (event, data) => {
      if (load === this._load) this._onLibraryError(Hls, data);
    });
    hls.loadSource(this._url());
    hls.attachMedia(this.video);
  }

  _detach() {
    this._load += 1;
    clearTimeout(this._retryTimer);
    this._retryTimer = 0;
    if (this._hls) {
      this._hls.destroy();
      this._hls = null;
    } else if (this.video.hasAttribute('src')) {
      this.video.removeAttribute('src');
      this.video.load();
    }
  }

  _play() {
    const load = this._load;
    const promise = this.video.play();
    if (!promise) return;
    promise.catch((error) => {
      // AbortError: a newer load took over. NotAllowedError: low-power mode, or sound without a tap.
      if (load === this._load && error.name === 'NotAllowedError') this._set('blocked');
    });
  }

  _retry(reason) {
    if (this._retryTimer || !this._timer) return;
    const wait_ms = delay_ms(this.failures);
    this.failures += 1;
    this._set('reconnecting', reason);
    this._retryTimer = setTimeout(() => {
      this._retryTimer = 0;
      this._attach();
    }, wait_ms);
  }

  _onLibraryError(Hls, data) {
    if (!data.fatal) return;
    const { ErrorDetails, ErrorTypes } = Hls;
    const code = data.response ? data.response.code : 0;
    const now = performance.now();
    if (code === 401 || code === 403) {
      this._set('locked');
    } else if (data.details === ErrorDetails.MANIFEST_INCOMPATIBLE_CODECS_ERROR
      || data.details === ErrorDetails.BUFFER_ADD_CODEC_ERROR
      || data.details === ErrorDetails.BUFFER_INCOMPATIBLE_CODECS_ERROR) {
      this._detach();
      this._set('unsupported', '');
    } else if (data.type === ErrorTypes.MEDIA_ERROR && now - this._recoveredAt > 5000) {
      this._recoveredAt = now;
      this._hls.recoverMediaError();
      this._play();
    } else {
      this._retry(code ? `The device answered ${code}.` : '');
    }
  }

  // -- watching over it ------------------------------------------------------------------------

  _listen() {
    const { video } = this;
    const on = (target, type, listener) => {
      target.addEventListener(type, listener);
      this._unlisten.push(() => target.removeEventListener(type, listener));
    };
    on(video, 'error', () => {
      if (this._timer && !this._hls && video.hasAttribute('src')) this._retry('');
    });
    on(video, 'ended', () => this._timer && this._retry(''));
    on(video, 'pause', () => {
      this._pausedAt = performance.now();
      if (this._timer && !document.hidden && !video.ended && this.state === 'playing') this._set('paused');
    });
    on(video, 'play', () => {
      if (this.state !== 'paused' && this.state !== 'blocked') return;
      this.userPaused = false;
      this._movedAt = performance.now();
      this._set('connecting');
    });
    // The iPhone's own full screen pauses when it is left.
    on(video, 'webkitendfullscreen', () => this._timer && !this.userPaused && this._play());
    on(document, 'visibilitychange', () => this._onVisibility());
    on(window, 'pageshow', (event) => event.persisted && this._return());
    on(window, 'online', () => this.retryNow());
  }

  _onVisibility() {
    if (document.hidden) {
      this._hiddenAt = performance.now();
      // Some browsers pause a moment before they tell that the page goes.
      if (this.state === 'paused' && !this.userPaused && this._hiddenAt - this._pausedAt < 1000) {
        this._set('connecting');
      }
    } else {
      this._return();
    }
  }

  // The page is seen again: what was buffered is old.
  _return() {
    if (!this._timer || this.userPaused || this.state === 'paused') return;
    this._movedAt = performance.now();
    if (this.state === 'reconnecting' || this.state === 'stalled') {
      this.retryNow();
    } else if (this.state === 'playing' || this.state === 'connecting') {
      const away_ms = this._hiddenAt ? performance.now() - this._hiddenAt : 0;
      if (this.video.paused || away_ms > 5000) this.goLive();
      this._play();
    }
  }

  _tick() {
    const { video } = this;
    const now = performance.now();
    if (document.hidden || ['paused', 'blocked', 'locked', 'unsupported'].includes(this.state)) {
      this._movedAt = now;
      return;
    }
    if (video.currentTime !== this._lastTime && video.readyState >= 2 && !video.paused) {
      this._onMoved(now);
    } else {
      this._onStill(now - this._movedAt);
    }
  }

  _onMoved(now) {
    const { video } = this;
    if (this._lastTime >= 0) {
      this._movedAt = now;
      this._nudged = false;
      this._started = true;
      if (this.state !== 'playing') {
        this._playingSince = now;
        clearTimeout(this._retryTimer);
        this._retryTimer = 0;
        this._set('playing');
      }
      if (now - this._playingSince > SETTLED_MS) this.failures = 0;
      if (!this._hls && this._behind_ms() > FAR_BEHIND_MS) this.goLive();
    }
    this._lastTime = video.currentTime;
  }

  _onStill(still_ms) {
    if (this._retryTimer) return;
    if (!this._started) {
      if (still_ms > START_RELOAD_MS) this._retry('');
      return;
    }
    if (still_ms > STALL_RELOAD_MS) {
      this._retry('');
    } else if (still_ms > STALL_NUDGE_MS && !this._nudged) {
      this._nudged = true;
      this.goLive();
      this._play();
    } else if (still_ms > STALL_TOLD_MS && this.state === 'playing') {
      this._set('stalled');
    }
  }

  _set(state, detail = '') {
    if (state === this.state && detail === this.detail) return;
    this.state = state;
    this.detail = detail;
    this._onChange(state, detail);
  }
}
