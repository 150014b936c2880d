// Figures as people read them, and what their age says about a stream's health.

export const LATE_MS = 2000;
export const BAD_MS = 10000;

const CODECS = {
  h264: 'H.264', h265: 'H.265', av1: 'AV1', aac: 'AAC', opus: 'Opus', pcma: 'G.711 A', pcmu: 'G.711 µ',
};

export function codec(name) {
  return CODECS[name] || String(name);
}

export function bitrate(bps) {
  if (!bps) return '–';
  if (bps >= 1e6) return `${(bps / 1e6).toFixed(bps >= 1e7 ? 0 : 1)}\u00a0Mb/s`;
  return `${Math.round(bps / 1e3)}\u00a0kb/s`;
}

export function frames(fps) {
  return fps ? `${fps.toFixed(1).replace(/\.0$/, '')} fps` : '–';
}

export function duration(ms) {
  const s = ms / 1000;
  if (s < 60) return `${Math.floor(s)} s`;
  if (s < 3600) return `${Math.floor(s / 60)} min`;
  if (s < 172800) return `${Math.floor(s / 3600)} h`;
  return `${Math.floor(s / 86400)} days`;
}

export function age(ms) {
  if (ms === null) return '–';
  return ms < 1000 ? 'just now' : `${duration(ms)} ago`;
}

export function latency(ms) {
  return `${(Math.max(0, ms) / 1000).toFixed(1)} s`;
}

export function count(number, one, many) {
  return `${number} ${number === 1 ? one : many}`;
}

export function size(video) {
  return video && video.width_px ? `${video.width_px}×${video.height_px}` : '–';
}

export function codecs({ video, audio }) {
  return [video, audio].filter(Boolean).map((track) => codec(track.codec)).join(', ') || '–';
}

export function sound(audio) {
  if (!audio) return 'none';
  const channels = { 1: 'mono', 2: 'stereo' }[audio.channels] || `${audio.channels} channels`;
  return `${audio.sample_rate_hz / 1000}\u00a0kHz ${channels}`;
}

// Switched off, by somebody or by its hours: no fault, and nothing to wait for.
export function isOff(stream) {
  return Boolean(stream.camera) && stream.camera.state === 'off';
}

// A stream that sleeps until somebody watches is neither well nor ill.
export function health(stream, extra_ms) {
  if (isOff(stream) || (stream.on_demand && !stream.online)) return 'idle';
  if (stream.placeholder) return 'bad';
  if (!stream.online) return 'bad';
  const ms = stream.age_ms === null ? 0 : stream.age_ms + extra_ms;
  if (ms >= BAD_MS) return 'bad';
  return ms >= LATE_MS ? 'late' : 'good';
}

export function healthWord(stream, extra_ms) {
  if (isOff(stream)) return 'Camera off';
  if (stream.placeholder) return 'Reconnecting';
  if (stream.on_demand && !stream.online) return 'Asleep';
  if (!stream.online) return 'Offline';
  if (stream.age_ms === null) return 'Starting';
  const ms = stream.age_ms + extra_ms;
  return ms >= LATE_MS ? `No picture for ${duration(ms)}` : 'Live';
}

const RUNGS = {
  keyframe: 'asking for a keyframe',
  encoder: 'restarting the encoder',
  camera: 'opening the camera again',
  kill: 'starting anew',
  watchdog: 'the whole service restarts',
};

// Why nothing comes from where a stream is fetched; the device tells the reason's word.
const FAULTS = {
  unreachable: 'it cannot be reached',
  login: 'it refuses the user or password',
  tls: 'its certificate is not trusted',
  refused: 'it refuses what it is asked for',
  silent: 'it sends nothing',
  ended: 'it ended the connection',
  garbage: 'it sends what cannot be read here',
  flood: 'it sends more than is to be shown',
  kicked: 'somebody ended the connection',
};
const LONG_WAIT_S = 15;

// Empty if there is no fault. Its detail is there for who may read it in the API, too.
export function sourceFault({ fault, online }) {
  if (!fault || online) return '';
  const words = (fault.detail || '').replace(/^[a-z-]+: /, '') || FAULTS[fault.reason] || 'nothing comes';
  const wait = duration(fault.retry_s * 1000).replace(' ', '\u00a0');
  return `${words}.${fault.retry_s >= LONG_WAIT_S ? ` It is asked again in ${wait}.` : ''}`;
}

// One sentence on what is out of the ordinary with the camera; empty if nothing is.
export function cameraNotice(stream) {
  const { camera, placeholder } = stream;
  if (isOff(stream)) return camera.why ? `The camera is off: ${camera.why}.` : 'The camera is off.';
  const fault = sourceFault(stream);
  if (fault) return `${stream.on_demand ? 'When asked last' : 'Offline'}: ${fault}`;
  const why = (camera && camera.why) || '';
  if (placeholder || (why && !stream.online)) {
    const doing = (camera && RUNGS[camera.rung]) || '';
    const reason = [why, doing].filter(Boolean).join('; ') || placeholder;
    return `Reconnecting: ${reason}.`;
  }
  return camera && camera.slowed ? `Reduced for now: ${camera.slowed}.` : '';
}

// Only where there are destinations; by name for who may know them.
function forwarded(stream) {
  if (stream.destinations) return stream.destinations.map((one) => [`Forwarded to ${one.name}`, sent(one)]);
  const states = stream.forwards || [];
  if (!states.length) return [];
  const live = states.filter((state) => state === 'live').length;
  return [['Forwarded to', `${live} of ${states.length}`]];
}

function sent({ state, bytes, lag_ms: lag, last_error: error }) {
  if (state !== 'live') return error ? `${state}: ${error}` : state;
  const megabytes = `${(bytes / 1e6).toFixed(1)} MB`;
  return lag >= LATE_MS ? `${megabytes}, ${duration(lag)} behind` : megabytes;
}

// The same figures on the card and beside the player.
export function figures(stream, extra_ms) {
  const ms = stream.age_ms === null ? null : stream.age_ms + extra_ms;
  return [
    ['Codecs', codecs(stream)],
    ['Size', size(stream.video)],
    ['Frame rate', stream.video && !stream.placeholder ? frames(stream.video.fps) : '–'],
    ['Bitrate', stream.online && !stream.placeholder ? bitrate(stream.bitrate_bps) : '–'],
    ['Viewers', String(stream.viewers)],
    ['Last frame', age(ms), 'age'],
    ...forwarded(stream),
  ];
}
