// The browser's own HLS: Safari's, and Chromium's, which tells nothing of its live edge.

const FAR_BEHIND_MS = 20000;

export class NativeEngine {
  constructor(video) {
    this.video = video;
    this._onError = null;
  }

  // onFault(kind, reason): kind is retry, locked or unsupported.
  async load(url, onFault) {
    this._onError = () => onFault('retry', '');
    this.video.addEventListener('error', this._onError);
    this.video.src = url;
    this.video.load();
  }

  unload() {
    if (!this._onError) return;
    this.video.removeEventListener('error', this._onError);
    this._onError = null;
    this.video.removeAttribute('src');
    this.video.load();
  }

  // {ms, exact}: behind the device's clock, or (not exact) behind the newest that can be had; null
  // where the browser tells neither.
  latency(now) {
    const { video } = this;
    const began = video.getStartDate ? video.getStartDate().getTime() : NaN; // Safari only
    if (began > 0 && now !== null) {
      return { ms: now - (began + video.currentTime * 1000), exact: true };
    }
    const behind_ms = this._behind_ms();
    return behind_ms === null ? null : { ms: behind_ms, exact: false };
  }

  // Whether it could: without a seekable range only a new load gets to the edge.
  goLive() {
    const behind_ms = this._behind_ms();
    if (behind_ms > 1000) this.video.currentTime += behind_ms / 1000;
    return behind_ms !== null;
  }

  isFarBehind() {
    return this._behind_ms() > FAR_BEHIND_MS;
  }

  _behind_ms() {
    const { seekable, currentTime } = this.video;
    if (!seekable.length) return null;
    const end = seekable.end(seekable.length - 1);
    return Number.isFinite(end) ? Math.max(0, (end - currentTime) * 1000) : null;
  }
}
