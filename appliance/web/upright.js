// A camera that is mounted on its side: fMP4 tells players how far to turn the picture, MPEG-TS
// cannot, and not every player listens. What a player shows lying is turned here.

// Whether it lies is seen by its shape, so that what is turned already is never turned again, and
// the upright picture that stands in for a lost camera is not either.
export class Upright {
  constructor(video) {
    this._video = video;
    this._track = null;
    video.addEventListener('resize', () => this._settle());
    video.addEventListener('loadedmetadata', () => this._settle());
    if (window.ResizeObserver) new ResizeObserver(() => this._settle()).observe(video);
  }

  // track: the stream's picture as the device tells it, with its size as it shall be seen; or null.
  show(track) {
    this._track = track;
    this._settle();
  }

  _settle() {
    const turn = this._turn();
    if (this._video.style.transform !== turn) this._video.style.transform = turn;
  }

  _turn() {
    const { videoWidth, videoHeight, clientWidth, clientHeight } = this._video;
    const { rotation_deg, width_px, height_px } = this._track || {};
    if (rotation_deg !== 90 && rotation_deg !== 270) return '';
    const lies = videoWidth === height_px && videoHeight === width_px && videoWidth !== videoHeight;
    if (!lies || !clientWidth || !clientHeight) return '';
    // It is laid out lying, as large as fits; upright it must fit again.
    const before = Math.min(clientWidth / videoWidth, clientHeight / videoHeight);
    const after = Math.min(clientWidth / videoHeight, clientHeight / videoWidth);
    return `rotate(${rotation_deg}deg) scale(${(after / before).toFixed(4)})`;
  }
}
