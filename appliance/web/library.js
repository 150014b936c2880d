// hls.js over Media Source Extensions: tells its latency and its errors. Loaded when first needed.

const RECOVER_EVERY_MS = 5000;

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

function config(isPreview) {
  const shared = {
    enableWorker: false, // our fMP4 passes through unchanged, and CSP needs no blob: scripts
    liveDurationInfinity: true,
    lowLatencyMode: true,
    backBufferLength: isPreview ? 2 : 15,
    liveSyncDurationCount: 2.5, // target durations: half a segment in reserve for Wi-Fi
    liveMaxLatencyDurationCount: 6, // then hls.js itself jumps to the edge
    maxLiveSyncPlaybackRate: 1.08,
  };
  return isPreview ? { ...shared, maxBufferLength: 6, capLevelToPlayerSize: true, startLevel: 0 } : shared;
}

// The same members as NativeEngine.
export class LibraryEngine {
  constructor(video, isPreview) {
    this.video = video;
    this._isPreview = isPreview;
    this._hls = null;
    this._load = 0; // grows with every load and unload: what a former one still does is dropped
    this._recoveredAt = -RECOVER_EVERY_MS;
  }

  async load(url, onFault) {
    const load = ++this._load;
    let Hls;
    try {
      Hls = await loadLibrary();
    } catch (error) {
      if (load === this._load) onFault('missing', 'The player itself could not be loaded.');
      return;
    }
    if (load !== this._load) return;
    if (!Hls.isSupported()) {
      onFault('unsupported', 'This browser has no Media Source Extensions.');
      return;
    }
    const hls = new Hls(config(this._isPreview));
    this._hls = hls;
    hls.on(Hls.Events.ERROR, (event, data) => {
      if (hls === this._hls && data.fatal) this._onFatal(Hls, data, onFault);
    });
    hls.loadSource(url);
    hls.attachMedia(this.video);
  }

  unload() {
    this._load += 1;
    if (this._hls) this._hls.destroy();
    this._hls = null;
  }

  latency(now) {
    if (!this._hls) return null;
    const date = this._hls.playingDate;
    if (date && now !== null) return { ms: now - date.getTime(), exact: true };
    return this._hls.latency > 0 ? { ms: this._hls.latency * 1000, exact: false } : null;
  }

  goLive() {
    const edge = this._hls ? this._hls.liveSyncPosition : null;
    if (edge !== null && edge > this.video.currentTime + 1) this.video.currentTime = edge;
    return true;
  }

  isFarBehind() {
    return false; // see liveMaxLatencyDurationCount
  }

  _onFatal(Hls, data, onFault) {
    const { ErrorDetails, ErrorTypes } = Hls;
    const code = data.response ? data.response.code : 0;
    const undecodable = [
      ErrorDetails.MANIFEST_INCOMPATIBLE_CODECS_ERROR,
      ErrorDetails.BUFFER_ADD_CODEC_ERROR,
      ErrorDetails.BUFFER_INCOMPATIBLE_CODECS_ERROR,
    ];
    if (code === 401 || code === 403) onFault('locked', '');
    else if (undecodable.includes(data.details)) onFault('unsupported', '');
    else if (data.type !== ErrorTypes.MEDIA_ERROR || !this._recover()) {
      onFault('retry', code ? `The device answered ${code}.` : '');
    }
  }

  // A decoder that stumbled gets a new start, once in a while.
  _recover() {
    const now = performance.now();
    if (now - this._recoveredAt < RECOVER_EVERY_MS) return false;
    this._recoveredAt = now;
    this._hls.recoverMediaError();
    return true;
  }
}
