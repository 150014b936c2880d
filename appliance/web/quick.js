// mpegts.js over Media Source Extensions: FLV by WebSocket, which waits for no segment. For H.264
// and AAC only. Loaded when first needed.

const TARGET_S = 0.4; // of media in reserve for Wi-Fi
const FAR_BEHIND_S = 1.5;
const OLD_S = 10; // further than this a new connection is quicker

let library = null;

function loadLibrary() {
  if (!library) {
    // A failed import is remembered by the browser under its address: a retry needs another one.
    const load = (retry) => import(`./vendor/mpegts.mjs${retry}`);
    library = load('').catch(() => load(`?retry=${Date.now()}`)).then((module) => {
      module.default.LoggingControl.enableAll = false;
      return module.default;
    });
    library.catch(() => { library = null; });
  }
  return library;
}

const CONFIG = {
  enableWorker: false, // CSP needs no blob: scripts
  enableStashBuffer: false,
  isLive: true,
  liveSync: true, // plays a little faster while it is behind
  liveSyncMaxLatency: TARGET_S + 0.4,
  liveSyncTargetLatency: TARGET_S,
  liveSyncPlaybackRate: 1.08,
  autoCleanupSourceBuffer: true,
  autoCleanupMaxBackwardDuration: 20,
  autoCleanupMinBackwardDuration: 10,
};

// Whether this browser plays this stream (its entry in the device's answer) in this way.
export function playsQuickly(stream) {
  const source = window.MediaSource || window.ManagedMediaSource;
  if (!source || !stream) return false;
  const { video, audio } = stream;
  if (!video && !audio) return false;
  if ((video && video.codec !== 'h264') || (audio && audio.codec !== 'aac')) return false;
  const codecs = [video, audio].filter(Boolean).map((track) => track.rfc6381).join(', ');
  return source.isTypeSupported(`${video ? 'video' : 'audio'}/mp4; codecs="${codecs}"`);
}

// The same members as NativeEngine.
export class QuickEngine {
  constructor(video) {
    this.video = video;
    this._player = null;
    this._load = 0; // grows with every load and unload: what a former one still does is dropped
  }

  async load(path, onFault) {
    const load = ++this._load;
    let mpegts;
    try {
      mpegts = await loadLibrary();
    } catch (error) {
      if (load === this._load) onFault('missing', 'The player itself could not be loaded.');
      return;
    }
    if (load !== this._load) return;
    const url = new URL(path, window.location.href);
    url.protocol = url.protocol === 'https:' ? 'wss:' : 'ws:';
    const player = mpegts.createPlayer({ type: 'flv', isLive: true, url: url.href }, CONFIG);
    const fail = (reason) => load === this._load && onFault('retry', reason);
    player.on(mpegts.Events.ERROR, () => fail('The connection failed.'));
    player.on(mpegts.Events.LOADING_COMPLETE, () => fail('The connection has ended.'));
    this._player = player;
    player.attachMediaElement(this.video);
    player.load();
  }

  unload() {
    this._load += 1;
    if (!this._player) return;
    this._player.destroy();
    this._player = null;
    this.video.playbackRate = 1;
  }

  // How much waits here to be shown; what the way from the device adds, nobody can tell.
  latency() {
    const behind_s = this._behind_s();
    return behind_s === null ? null : { ms: behind_s * 1000, exact: false };
  }

  goLive() {
    const behind_s = this._behind_s();
    if (behind_s > TARGET_S) this.video.currentTime += behind_s - TARGET_S;
    return behind_s < OLD_S;
  }

  isFarBehind() {
    return this._behind_s() > FAR_BEHIND_S;
  }

  _behind_s() {
    const { buffered, currentTime } = this.video;
    if (!this._player || !buffered.length) return null;
    return Math.max(0, buffered.end(buffered.length - 1) - currentTime);
  }
}
