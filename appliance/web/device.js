// The console: every stream of this device as a card, brought up to date every two seconds.

import { breakable, copyButton, el, setFigures, setText } from './dom.js';
import { Feed } from './feed.js';
import { keyNote, refusedNote } from './keyform.js';
import { Previews } from './previews.js';
import { shareRow } from './share.js';
import { bitrate, cameraNotice, count, figures, health, healthWord, isOff } from './words.js';
import { watchForUpdate } from './update.js';

const list = document.getElementById('cards');
const alarm = document.getElementById('alarm');
const note = document.getElementById('note');
const summary = document.getElementById('summary');
const wide = window.matchMedia('(min-width: 60rem)');

const cards = new Map(); // name -> Card
const feed = new Feed(show);
const previews = new Previews(feed, new URLSearchParams(window.location.search).get('player'), (name) => {
  const card = cards.get(name);
  if (card) card.showPicture();
});
let noteKind = '';

class Card {
  constructor(stream, opened) {
    this.stream = stream;
    this.video = el('video', { playsinline: true, muted: true, 'aria-hidden': 'true', tabindex: '-1' });
    this.video.muted = true; // the attribute alone counts for markup only
    this.pill = el('span', { class: 'pill' });
    this.stillText = el('span');
    this.startButton = el('button', { type: 'button', onclick: () => previews.ask(this.stream.name) });
    this.still = el('div', { class: 'still' }, this.stillText, this.startButton);
    this.list = el('dl', { class: 'figures' });
    this.notice = el('p', { class: 'notice', hidden: true });
    this.share = el('div', { class: 'share', hidden: true });
    this.shareButton = el('button', {
      type: 'button', 'aria-expanded': 'false', onclick: () => this.toggleShare(),
    }, 'Open on the iPad');
    const page = stream.urls.page;
    this.node = el('li', { class: 'card' },
      el('div', { class: 'picture' },
        this.video, this.still,
        el('a', { class: 'watch', href: page, tabindex: '-1', 'aria-hidden': 'true' })),
      el('div', { class: 'text' },
        el('div', { class: 'head' }, el('h2', {}, el('a', { href: page }, ...breakable(stream.name))), this.pill),
        this.notice,
        this.list,
        this.share,
        el('div', { class: 'actions' },
          el('a', { class: 'button first', href: page, 'aria-label': `Watch ${stream.name}` }, 'Watch'),
          this.shareButton)));
    if (opened) this.toggleShare();
  }

  toggleShare() {
    const open = this.share.hidden;
    if (open) {
      this.share.replaceChildren(...shareRow(this.stream.urls.page, feed.last.address, true));
    }
    this.share.hidden = !open;
    this.shareButton.setAttribute('aria-expanded', String(open));
    setText(this.shareButton, open ? 'Hide the code' : 'Open on the iPad');
  }

  update(stream) {
    this.stream = stream;
    previews.update(stream);
    this.showAge();
  }

  // Ages grow between the answers, and go on growing when the device stops answering.
  showAge() {
    const extra_ms = feed.overdue_ms();
    this.node.dataset.health = health(this.stream, extra_ms);
    setText(this.pill, healthWord(this.stream, extra_ms));
    setFigures(this.list, figures(this.stream, extra_ms));
    const notice = cameraNotice(this.stream);
    setText(this.notice, notice);
    this.notice.hidden = !notice;
    this.notice.classList.toggle('quiet', isOff(this.stream));
    this.showPicture();
  }

  showPicture() {
    const { stream } = this;
    const state = previews.stateOf(stream.name);
    const moving = state === 'playing' || state === 'stalled' || state === 'paused';
    this.still.hidden = moving;
    if (moving) return;
    const can = stream.online || stream.on_demand;
    const resting = state === 'idle' || state === 'blocked';
    this.startButton.hidden = !(can && resting);
    setText(this.startButton, stream.on_demand && !stream.online ? 'Start the camera' : 'Show the picture');
    setText(this.stillText, resting ? this.restingText() : this.busyText(state));
  }

  restingText() {
    if (this.stream.online) return '';
    if (isOff(this.stream)) return 'The camera is off';
    return this.stream.on_demand ? 'Asleep until somebody watches' : 'Offline. It shows up here when it is back.';
  }

  busyText(state) {
    if (state === 'unsupported') return 'This browser cannot play it';
    if (!this.stream.online && isOff(this.stream)) return 'The camera is off';
    if (!this.stream.online) return this.stream.on_demand ? 'Starting…' : 'Offline. It shows up here when it is back.';
    return state === 'reconnecting' ? 'Reconnecting…' : 'Connecting…';
  }
}

function show(answer) {
  if (answer.state === 'unreachable') {
    showAlarm('The device does not answer. Check its power and that you are on its network; '
      + 'this page keeps trying.');
    return;
  }
  showAlarm('');
  if (answer.state !== 'ok') {
    showStreams([]);
    showRefusal(answer);
    return;
  }
  watchForUpdate(answer.page);
  showStreams(answer.streams);
  if (answer.streams.length) showNote('', () => []);
  else showNote('empty', emptyNote);
  setText(summary, summaryOf(answer.streams));
}

function showAlarm(text) {
  alarm.hidden = !text;
  setText(alarm, text);
}

function showRefusal({ state, reason }) {
  setText(summary, 'Not open to everybody');
  if (state === 'locked') showNote(`key ${feed.wrong}`, () => [keyNote(feed)]);
  else showNote(`refused ${reason}`, () => [refusedNote(feed, reason)]);
}

// What is shown already stays as it is: somebody may be typing a key into it.
function showNote(kind, make) {
  if (kind === noteKind) return;
  noteKind = kind;
  note.replaceChildren(...make());
}

function emptyNote() {
  const lines = '[[stream]]\nname = "live/camera"\nsource = "pattern:"';
  return [el('div', { class: 'note' },
    el('h2', {}, 'No streams yet'),
    el('p', {}, 'Give this device a stream: add these lines to its porthole.toml, then restart it. '
      + 'The pattern is a moving test picture; put your camera in its place.'),
    el('pre', {}, lines),
    copyButton(lines))];
}

function summaryOf(streams) {
  if (!streams.length) return 'No streams';
  const viewers = streams.reduce((sum, stream) => sum + stream.viewers, 0);
  const bps = streams.reduce((sum, stream) => sum + (stream.online && !stream.placeholder ? stream.bitrate_bps : 0), 0);
  const parts = [count(streams.length, 'stream', 'streams'), count(viewers, 'viewer', 'viewers')];
  const off = streams.filter(isOff).length;
  const away = streams.filter((stream) => !isOff(stream)
    && (stream.placeholder || (!stream.online && !stream.on_demand))).length;
  if (off) parts.push(`${off} off`);
  if (away) parts.push(`${away} offline`);
  if (bps) parts.push(bitrate(bps));
  return parts.join(' · ');
}

function showStreams(streams) {
  const names = new Set(streams.map((stream) => stream.name));
  [...cards].filter(([name]) => !names.has(name)).forEach(([name, card]) => {
    previews.remove(name);
    card.node.remove();
    cards.delete(name);
  });
  list.classList.toggle('one', streams.length === 1);
  streams.forEach((stream, index) => {
    let card = cards.get(stream.name);
    if (!card) {
      card = new Card(stream, streams.length === 1 && wide.matches);
      cards.set(stream.name, card);
      previews.add(stream, card.video);
    }
    if (list.children[index] !== card.node) list.insertBefore(card.node, list.children[index] || null);
    card.update(stream);
  });
  previews.settle();
}

setInterval(() => document.hidden || cards.forEach((card) => card.showAge()), 1000);
feed.refresh();
