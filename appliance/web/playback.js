// One live stream in one <video>, kept at the live edge and never silently still.
//
// How it works: a tick every half second looks whether `currentTime` moves. Standing still is told
// after STALL_TOLD_MS, mended softly (to the live edge) after STALL_NUDGE_MS and by loading the
// source again, with back-off, after STALL_RELOAD_MS. Errors go straight to the reload. While the
// device says that the camera is away, what was shown last stays: loading again would show the last
// seconds once more, as if they were live.
//
// states: idle, connecting, playing, stalled, reconnecting, paused, blocked (the browser wants a tap
// first), locked (a key is needed), unsupported (this browser cannot decode it).

import { LibraryEngine } from './library.js';
import { NativeEngine } from './native.js';
import { QuickEngine } from './quick.js';

export const NATIVE = 'native';
export const HLSJS = 'hls';
export const QUICK = 'quick';

const TICK_MS = 500;
const STALL_TOLD_MS = 1500;
const STALL_NUDGE_MS = 3500;
const STALL_RELOAD_MS = 7000;
const START_RELOAD_MS = 20000; // the device holds the first request while a source starts
const SETTLED_MS = 10000; // playing this long forgives earlier failures
const AWAY_MS = 5000; // after a pause or an absence this long the buffer is old
const MAX_DELAY_MS = 15000;
const RESTING = ['paused', 'blocked', 'locked', 'unsupported'];
const HLS_TYPE = 'application/vnd.apple.mpegurl';

// Safari's own HLS is better than anything above it; elsewhere hls.js knows latency and errors.
export function chooseEngine(wanted) {
  if (wanted === NATIVE || wanted === HLSJS) return wanted;
  const native = playsNatively();
  const hasMediaSource = 'MediaSource' in window || 'ManagedMediaSource' in window;
  if (native && (!hasMediaSource || /^Apple/.test(navigator.vendor))) return NATIVE;
  return hasMediaSource ? HLSJS : null;
}

function playsNatively() {
  return document.createElement('video').canPlayType(HLS_TYPE) !== '';
}

function makeEngine(engine, video, isPreview) {
  if (engine === NATIVE) return new NativeEngine(video);
  return engine === QUICK ? new QuickEngine(video) : new LibraryEngine(video, isPreview);
}

function delay_ms(failures) {
  return Math.min(MAX_DELAY_MS, 500 * 2 ** Math.min(failures, 6)) * (0.8 + Math.random() * 0.4);
}

export class Playback {
  // engine: of chooseEngine. url: a function of the engine, so that a key given later is used. now:
  // the device's clock or null. isAway: whether nothing comes from the camera; retryNow when it does.
  constructor(video, { url, engine, now, isAway, isPreview, onChange }) {
    this.video = video;
    this.state = 'idle';
    this.detail = '';
    this.engine = engine; // which it is now
    this.gaveUp = ''; // why QUICK is not used any more
    this._usual = engine;
    this._isPreview = isPreview;
    this._engine = makeEngine(engine, video, isPreview);
    this._canPlay = engine !== null;
    this._url = url;
    this._now = now || (() => null);
    this._isAway = isAway || (() => false);
    this._onChange = onChange;
    this._failures = 0;
    this._byHand = false; // paused by our own button
    this._load = 0; // grows with every load: what a former one still does is dropped
    this._timer = 0;
    this._retryTimer = 0;
    this._hasPlayed = false; // since this load
    this._hasNudged = false;
    this._lastTime = -1;
    this._movedAt = 0;
    this._playingSince = 0;
    this._hiddenAt = 0;
    this._pausedAt = 0;
    this._unlisten = [];
    this._listen();
  }

  start() {
    if (this._timer) return;
    this._timer = setInterval(() => this._tick(), TICK_MS);
    this._failures = 0;
    if (this._canPlay) this._attach();
    else this._set('unsupported', 'This browser can play no live streams.');
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
    if (!this._timer || !this._canPlay || this.state === 'playing' || this.state === 'paused') return;
    this._failures = 0;
    this._attach();
  }

  pause() {
    this._byHand = true;
    this.video.pause();
    this._set('paused');
  }

  play() {
    this._byHand = false;
    this._movedAt = performance.now();
    if (this.state !== 'playing') this._set('connecting');
    this.goLive();
    this._play();
  }

  // QUICK or the usual engine, from now on. QUICK gives way to the usual one by itself when it fails.
  choose(isQuick) {
    this.gaveUp = '';
    this._use(isQuick ? QUICK : this._usual);
  }

  _use(engine) {
    if (engine === this.engine) return;
    this._detach();
    this.engine = engine;
    this._engine = makeEngine(engine, this.video, this._isPreview);
    this._failures = 0;
    if (this._timer && this.state !== 'paused') this._attach();
  }

  _giveUp(reason) {
    this.gaveUp = reason || 'the picture stood still';
    this._use(this._usual);
  }

  // As the engines': {ms, exact} or null.
  latency() {
    return this._engine.latency(this._now());
  }

  goLive() {
    const isOld = this._pausedAt > 0 && performance.now() - this._pausedAt > AWAY_MS;
    if (!this._engine.goLive() && isOld) this._attach();
  }

  // -- loading ---------------------------------------------------------------------------------

  async _attach() {
    this._detach();
    const load = ++this._load;
    this._hasPlayed = false;
    this._hasNudged = false;
    this._lastTime = -1;
    this._movedAt = performance.now();
    this._pausedAt = 0;
    this._set(this._failures ? 'reconnecting' : 'connecting');
    await this._engine.load(this._url(this.engine), (kind, reason) => {
      if (load === this._load) this._onFault(kind, reason);
    });
    if (load === this._load) this._play();
  }

  _detach() {
    this._load += 1;
    clearTimeout(this._retryTimer);
    this._retryTimer = 0;
    this._engine.unload();
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

  _onFault(kind, reason) {
    if (this.engine === QUICK) {
      this._giveUp(reason);
    } else if (kind === 'missing' && playsNatively() && this._failures) {
      // Twice: a device set up without npm has no hls.js. What the browser has is better than none.
      this._detach();
      this.engine = NATIVE;
      this._engine = new NativeEngine(this.video);
      this._attach();
    } else if (kind === 'retry' || kind === 'missing') {
      this._retry(reason);
    } else {
      this._detach();
      this._set(kind, reason);
    }
  }

  _retry(reason) {
    if (this._retryTimer || !this._timer) return;
    if (this.engine === QUICK) {
      this._giveUp(reason);
      return;
    }
    const wait_ms = delay_ms(this._failures);
    this._failures += 1;
    this._set('reconnecting', reason);
    this._retryTimer = setTimeout(() => this._attach(), wait_ms);
  }

  // -- watching over it ------------------------------------------------------------------------

  _listen() {
    const { video } = this;
    const on = (target, type, listener) => {
      target.addEventListener(type, listener);
      this._unlisten.push(() => target.removeEventListener(type, listener));
    };
    on(video, 'ended', () => this._timer && this._retry(''));
    on(video, 'pause', () => this._onPause());
    on(video, 'play', () => this._onPlay());
    // The iPhone's own full screen pauses when it is left.
    on(video, 'webkitendfullscreen', () => this._timer && !this._byHand && this._play());
    on(document, 'visibilitychange', () => this._onVisibility());
    // A page that the browser keeps for going back would keep the connection too.
    on(window, 'pagehide', () => this.engine === QUICK && this._detach());
    on(window, 'pageshow', (event) => event.persisted && this._onPageShow());
    on(window, 'online', () => this.retryNow());
  }

  // By whomever: our button, the browser's own controls, a media key.
  _onPause() {
    this._pausedAt = performance.now();
    if (this.state === 'playing' && !document.hidden && !this.video.ended) this._set('paused');
  }

  _onPlay() {
    if (this.state !== 'paused' && this.state !== 'blocked') return;
    this._byHand = false;
    this._movedAt = performance.now();
    this._set('connecting');
  }

  _onVisibility() {
    if (!document.hidden) {
      this._onReturn();
      return;
    }
    this._hiddenAt = performance.now();
    // Some browsers pause a moment before they tell that the page goes.
    const justPaused = this._hiddenAt - this._pausedAt < 1000;
    if (this.state === 'paused' && !this._byHand && justPaused) this._set('connecting');
  }

  _onPageShow() {
    if (this.engine === QUICK && this._timer && this.state !== 'paused') this._attach();
    else this._onReturn();
  }

  // The page is seen again: what was buffered is old.
  _onReturn() {
    if (!this._timer || RESTING.includes(this.state)) return;
    this._movedAt = performance.now();
    if (this.state === 'reconnecting' || this.state === 'stalled') {
      this.retryNow();
      return;
    }
    const away_ms = this._hiddenAt ? performance.now() - this._hiddenAt : 0;
    if (this.video.paused || away_ms > AWAY_MS) this.goLive();
    this._play();
  }

  _tick() {
    const { video } = this;
    const now = performance.now();
    if (document.hidden || RESTING.includes(this.state)) this._movedAt = now;
    else if (video.currentTime === this._lastTime || video.readyState < 2 || video.paused) {
      this._onStill(now - this._movedAt);
    } else {
      if (this._lastTime >= 0) this._onMoved(now);
      this._lastTime = video.currentTime;
    }
  }

  _onMoved(now) {
    this._movedAt = now;
    this._hasNudged = false;
    this._hasPlayed = true;
    if (this.state !== 'playing') {
      this._playingSince = now;
      clearTimeout(this._retryTimer);
      this._retryTimer = 0;
      this._set('playing');
    }
    if (now - this._playingSince > SETTLED_MS) this._failures = 0;
    if (this._engine.isFarBehind()) this._engine.goLive();
  }

  _onStill(still_ms) {
    if (this._retryTimer) return;
    if (this._hasPlayed && this._isAway()) {
      if (still_ms > STALL_TOLD_MS && this.state === 'playing') this._set('stalled');
    } else if (still_ms > (this._hasPlayed ? STALL_RELOAD_MS : START_RELOAD_MS)) {
      this._retry('');
    } else if (this._hasPlayed && still_ms > STALL_NUDGE_MS && !this._hasNudged) {
      this._hasNudged = true;
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
