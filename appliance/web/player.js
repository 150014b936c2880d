// The player page of one stream: picture, controls, figures, addresses.

import { breakable, copyButton, el, setFigures, setText } from './dom.js';
import { Feed } from './feed.js';
import { keyNote, refusedNote } from './keyform.js';
import { chooseEngine, HLSJS, Playback, QUICK } from './playback.js';
import { playsQuickly } from './quick.js';
import { address, origin, shareRow } from './share.js';
import { Upright } from './upright.js';
import { bindControls } from './controls.js';
import { CameraPanel } from './camera.js';
import { cameraNotice, codec, duration, figures, health, healthWord, isOff, latency, sound, sourceFault } from './words.js';
import { watchForUpdate } from './update.js';

const name = document.body.dataset.stream;
const at = (id) => document.getElementById(id);
const video = at('video');
const stage = at('stage');
const note = at('note');

const hlsPath = `/${name}.m3u8`;
const flvPath = `/${name}.flv`;
const wanted = new URLSearchParams(window.location.search).get('player');
const engine = chooseEngine(wanted);
let wantsQuick = wanted === QUICK; // until it is known whether the stream can
let stream = null; // its entry in the device's last answer; null while it is not there
let answerState = '';
let stillSince = 0;

const feed = new Feed(onAnswer);
const playback = new Playback(video, {
  engine,
  url: (kind) => feed.withCredentials(kind === QUICK ? flvPath : hlsPath),
  now: () => feed.now(),
  isAway: () => answerState === 'ok' && Boolean(stream) && !stream.online && !stream.on_demand,
  onChange: onPlayback,
});
const upright = new Upright(video);
const controls = bindControls({ stage, video, playback });
const panel = new CameraPanel(at('camera'), () => feed.credentials);

// -- what the device says ----------------------------------------------------------------------

function onAnswer(answer) {
  const isBack = answerState === 'unreachable';
  answerState = answer.state;
  if (answer.state === 'ok') {
    watchForUpdate(answer.page);
    const before = stream;
    stream = answer.streams.find((candidate) => candidate.name === name) || null;
    offerQuick();
    const playable = stream && (stream.online || stream.on_demand);
    if (playable && playback.state === 'idle') playback.start();
    else if (playback.state === 'locked' || hasOtherCodec(before, stream)) playback.retryNow();
    else if (stream && stream.online && (isBack || !before || !before.online)) playback.retryNow();
    upright.show(stream ? stream.video : null);
    controls.setSound(Boolean(stream && stream.audio));
    showAddresses(answer.address, answer.rtsp_port);
    panel.show(stream ? stream.camera : null);
  }
  showNote(answer);
  show();
}

function hasOtherCodec(before, now) {
  const kind = (entry) => (entry && entry.video ? entry.video.rfc6381 : '');
  return kind(now) !== '' && kind(before) !== '' && kind(now) !== kind(before);
}

// Low latency is a choice where the browser has what it needs for this stream.
function offerQuick() {
  const can = playsQuickly(stream);
  at('quick').hidden = !can && playback.engine !== QUICK;
  if (can && wantsQuick) playback.choose(true);
  if (can) wantsQuick = false;
}

at('quick').addEventListener('click', () => {
  const isQuick = playback.engine !== QUICK;
  playback.choose(isQuick);
  const query = new URLSearchParams(window.location.search);
  if (isQuick) query.set('player', QUICK);
  else query.delete('player');
  window.history.replaceState(null, '', query.size ? `?${query}` : window.location.pathname);
  show();
});

let noteKind = '';

function showNote(answer) {
  const locked = answer.state === 'locked' || playback.state === 'locked';
  const refused = answer.state === 'refused';
  const kind = locked ? `key ${feed.wrong}` : refused ? `refused ${answer.reason}` : '';
  if (kind === noteKind) return;
  noteKind = kind;
  document.body.classList.toggle('locked', kind !== '');
  if (locked) note.replaceChildren(keyNote(feed));
  else note.replaceChildren(...(refused ? [refusedNote(feed, answer.reason)] : []));
  if (locked) note.querySelector('input').focus();
}

let shownFor = null;

// lan: as in share.js; undefined until the device has answered.
function showAddresses(lan, rtspPort) {
  const base = origin(lan);
  const hasPicture = Boolean(stream && stream.camera && stream.camera.picture);
  const key = `${base} ${lan === ''} ${hasPicture}`;
  if (lan === undefined || key === shownFor) return;
  shownFor = key;
  at('share').replaceChildren(...shareRow(`/${name}`, lan, false));
  at('addresses').replaceChildren(...[
    ['This page', `${base}/${name}`],
    ['Stream for players (HLS)', `${base}${hlsPath}`],
    ['FLV, sooner than HLS', `${base}${flvPath}`],
    ...(rtspPort ? [['RTSP, for NVRs and players', `rtsp://${new URL(base).hostname}:${rtspPort}/${name}`]] : []),
    ...(hasPicture ? [['One picture (JPEG)', `${base}/${name}.jpg`]] : []),
  ].map(([label, url]) => el('li', {},
    el('small', {}, label), copyButton(url), address(url))));
}

// -- what the picture does ---------------------------------------------------------------------

function onPlayback(state) {
  if (state === 'playing') stillSince = 0;
  else if (!stillSince) stillSince = performance.now();
  if (state === 'locked') showNote({ state: 'locked' });
  show();
}

// [sentence, detail, button]: an empty sentence shows the picture alone.
function sentence() {
  const { state, detail } = playback;
  const gone = answerState === 'ok' && (!stream || !stream.online);
  if (state === 'playing') return [''];
  if (state === 'paused') return ['', '', ''];
  if (state === 'blocked') return ['The browser wants a tap before it plays.', '', 'Play'];
  if (state === 'unsupported') return unsupported(detail);
  if (answerState === 'unreachable') {
    return ['The device does not answer. Trying again…', 'Check its power and your network.'];
  }
  if (stream && !stream.online && isOff(stream)) return [cameraNotice(stream)];
  if (gone && !stream) return [`Waiting for ${name}…`, 'Nothing by this name is being sent just now.'];
  if (gone && stream.on_demand) return ['Starting the camera…', cameraNotice(stream) || waited()];
  if (gone) return ['The camera is offline.', capital(sourceFault(stream)) || cameraNotice(stream) || 'The picture comes back by itself.'];
  if (state === 'stalled') return ['Waiting for the picture…'];
  if (state === 'reconnecting') return ['Reconnecting…', doubt() || detail || waited()];
  return ['Connecting…', ''];
}

function capital(text) {
  return text.charAt(0).toUpperCase() + text.slice(1);
}

function unsupported(reason) {
  if (reason) return [reason, 'Try another browser.'];
  const kind = stream && stream.video ? codec(stream.video.codec) : 'this stream';
  const other = kind === 'H.265' ? 'Safari can' : 'Another browser may';
  return [`This browser cannot play ${kind}.`, `${other}; or let the camera send H.264.`];
}

// A browser's own player fails without saying why.
function doubt() {
  const track = stream && stream.video;
  if (!track || video.canPlayType(`video/mp4; codecs="${track.rfc6381}"`)) return '';
  return `This browser seems unable to play ${codec(track.codec)}.`;
}

function waited() {
  const ms = stillSince ? performance.now() - stillSince : 0;
  return ms > 5000 ? `for ${duration(ms)} now` : '';
}

function show() {
  const [text, detail, button] = sentence();
  at('veil').hidden = !text;
  setText(at('status'), text);
  setText(at('detail'), detail || '');
  at('detail').hidden = !detail;
  at('begin').hidden = !button;
  at('spinner').hidden = Boolean(button) || playback.state === 'unsupported';
  stage.dataset.state = playback.state;
  const notice = stream && !text ? cameraNotice(stream) : '';
  setText(at('notice'), notice);
  at('notice').hidden = !notice;
  at('notice').classList.toggle('quiet', Boolean(stream) && isOff(stream));
  at('quick').setAttribute('aria-pressed', String(playback.engine === QUICK));
  showBadge();
  showFigures();
}

function showBadge() {
  const badge = at('badge');
  const playing = playback.state === 'playing';
  const behind = playing ? playback.latency() : null;
  const words = { playing: 'Live', paused: 'Paused', reconnecting: 'Reconnecting', stalled: 'Waiting' };
  let text = words[playback.state] || 'Not live';
  const nearness = playback.engine === QUICK ? 'buffered' : 'from the edge';
  if (behind) text += ` · ${latency(behind.ms)} ${behind.exact ? 'behind' : nearness}`;
  let state = playing ? 'good' : 'late';
  if (playing && behind && behind.ms > 15000) state = 'late';
  const standsIn = stream && playing && (stream.placeholder || isOff(stream));
  if (standsIn) text = healthWord(stream, 0); // what moves there is no picture of the camera
  if (stream && health(stream, feed.overdue_ms()) === 'bad') state = 'bad';
  if (standsIn && isOff(stream)) state = 'idle';
  const headline = at('headline');
  headline.dataset.health = badge.dataset.health = state;
  setText(badge, text);
  setText(headline, behind && !standsIn ? `${words.playing} · ${latency(behind.ms)}` : text);
  headline.title = behind ? text : '';
}

function showFigures() {
  const list = at('figures');
  const extra_ms = feed.overdue_ms();
  const rows = stream ? figures(stream, extra_ms) : [];
  if (stream && stream.audio) rows.push(['Sound', sound(stream.audio)]);
  list.dataset.health = stream ? health(stream, extra_ms) : 'idle';
  setFigures(list, [...rows, ...ownFigures()]);
}

// What this browser does with it.
function ownFigures() {
  const rows = [];
  if (video.videoWidth) rows.push(['Decoded', `${video.videoWidth}×${video.videoHeight}`]);
  const quality = video.getVideoPlaybackQuality ? video.getVideoPlaybackQuality() : null;
  if (quality && quality.totalVideoFrames) {
    rows.push(['Frames dropped', `${quality.droppedVideoFrames} of ${quality.totalVideoFrames}`]);
  }
  const { buffered, currentTime } = video;
  if (buffered.length) {
    rows.push(['Buffered ahead', latency((buffered.end(buffered.length - 1) - currentTime) * 1000)]);
  }
  const players = { [HLSJS]: 'hls.js', [QUICK]: 'mpegts.js', native: 'built into the browser' };
  rows.push(['Player', players[playback.engine] || 'none']);
  if (playback.gaveUp) rows.push(['Low latency', `gave up: ${playback.gaveUp}`]);
  return rows;
}

video.addEventListener('resize', () => {
  if (video.videoWidth) stage.style.aspectRatio = `${video.videoWidth} / ${video.videoHeight}`;
});
at('begin').addEventListener('click', () => playback.play());
setInterval(() => document.hidden || show(), 1000);
document.querySelector('h1').replaceChildren(...breakable(name));
show();
feed.refresh();
