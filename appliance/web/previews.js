// Which cards move: those on screen, four at most, and none that somebody would have to wake up.

import { chooseEngine, Playback } from './playback.js';
import { Upright } from './upright.js';

const MAX_AT_ONCE = 4; // against a wall of decoders on a small tablet, and a crowd on a small board

const reduced = window.matchMedia('(prefers-reduced-motion: reduce)');

function isThrifty() {
  return reduced.matches || Boolean(navigator.connection && navigator.connection.saveData);
}

// `onChange(name)` tells that a preview started, stopped or failed: see `stateOf`.
export class Previews {
  constructor(feed, wanted, onChange) {
    this._feed = feed;
    this._engine = chooseEngine(wanted);
    this._onChange = onChange;
    this._cards = new Map(); // name -> {video, upright, playback, seen, asked, online, onDemand}
    this._observer = new IntersectionObserver((entries) => this._onSeen(entries), { threshold: 0.4 });
    document.addEventListener('visibilitychange', () => this.settle());
    if (reduced.addEventListener) reduced.addEventListener('change', () => this.settle());
  }

  add(stream, video) {
    video.dataset.name = stream.name;
    const playback = new Playback(video, {
      engine: this._engine,
      url: () => this._feed.withCredentials(stream.urls.hls),
      isPreview: true,
      onChange: () => this._onChange(stream.name),
    });
    const upright = new Upright(video);
    this._cards.set(stream.name, {
      video, upright, playback, seen: false, asked: 0, online: false, onDemand: false,
    });
    this._observer.observe(video);
  }

  remove(name) {
    const card = this._cards.get(name);
    this._observer.unobserve(card.video);
    card.playback.dispose();
    this._cards.delete(name);
  }

  update(stream) {
    const card = this._cards.get(stream.name);
    if (stream.online && !card.online) card.playback.retryNow();
    card.upright.show(stream.video);
    card.online = stream.online;
    card.onDemand = stream.on_demand;
  }

  // Somebody pressed start: this one first, and it may wake its source.
  ask(name) {
    this._cards.get(name).asked = performance.now();
    this.settle();
  }

  stateOf(name) {
    const { playback } = this._cards.get(name);
    return playback.state;
  }

  // Starts and stops until what should move moves. An on-demand stream that runs for others is
  // not kept running by us either, unless asked for.
  settle() {
    const wish = (card) => !document.hidden && card.seen && (card.online || card.asked)
      && (card.asked || (!card.onDemand && !isThrifty()));
    const wanted = [...this._cards.values()].filter(wish)
      .sort((one, other) => other.asked - one.asked).slice(0, MAX_AT_ONCE);
    this._cards.forEach((card) => {
      if (!wanted.includes(card) && card.playback.state !== 'idle') card.playback.stop();
    });
    wanted.forEach((card) => card.playback.start());
  }

  _onSeen(entries) {
    entries.forEach((entry) => {
      const card = this._cards.get(entry.target.dataset.name);
      if (card) card.seen = entry.isIntersecting;
    });
    this.settle();
  }
}
