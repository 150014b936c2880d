// The panel of a camera's settings beside its player: opened by hand, and for who may use the API.
//
// What there is to set, and how far, is what the device says of this very camera. Every change is
// one request; the answer is shown as the device gives it, so a slider never shows a wish.

import { el, setText } from './dom.js';
import { authorization } from './feed.js';

const REFRESH_MS = 5000;
const TIMEOUT_MS = 20000;
const STORE = 'porthole-api-credentials'; // apart: the owner's key has no place in a media address
const NUMBERS = ['int', 'float'];

function stored() {
  try {
    return JSON.parse(sessionStorage.getItem(STORE)) || null;
  } catch (error) {
    return null;
  }
}

function store(credentials) {
  try {
    sessionStorage.setItem(STORE, JSON.stringify(credentials));
  } catch (error) {
    // Storage is off: they live as long as the page.
  }
}

export class CameraPanel {
  // node: an empty section. viewer: a function with the credentials that the page plays with.
  constructor(node, viewer) {
    this.node = node;
    this._viewer = viewer;
    this._credentials = stored();
    this._camera = null; // {name, …} as in the row of the stream
    this._open = false;
    this._timer = 0;
    this._load = 0; // grows with every request: an older answer is dropped
    this._busy = 0;
    this._shape = ''; // which fields there are; while it stays, their nodes stay
    this._fields = new Map(); // what -> a function that shows the value
    this._button = el('button', { type: 'button', 'aria-expanded': 'false', onclick: () => this.toggle() });
    this._body = el('div', { class: 'settings', hidden: true });
    this._fault = el('p', { class: 'wrong', role: 'alert', hidden: true });
    node.append(el('div', { class: 'head' }, el('h2', {}, 'Camera'), this._button), this._fault, this._body);
    document.addEventListener('visibilitychange', () => this._open && !document.hidden && this._refresh());
  }

  show(camera) {
    this.node.hidden = !camera;
    this._camera = camera;
    setText(this._button, this._open ? 'Close' : 'Settings');
    if (!camera && this._open) this.toggle();
  }

  toggle() {
    this._open = !this._open;
    this._body.hidden = !this._open;
    this._button.setAttribute('aria-expanded', String(this._open));
    setText(this._button, this._open ? 'Close' : 'Settings');
    clearTimeout(this._timer);
    this._load += 1;
    if (this._open) this._refresh();
    else this._tell('');
  }

  // -- asking ----------------------------------------------------------------------------------

  async _refresh() {
    clearTimeout(this._timer);
    if (!this._open || document.hidden) return;
    if (!this._busy && !this._isTouched()) await this._ask(null);
    clearTimeout(this._timer);
    if (this._open && this._shape !== 'key') this._timer = setTimeout(() => this._refresh(), REFRESH_MS);
  }

  _change(values) {
    return this._ask(values);
  }

  async _ask(values) {
    const load = ++this._load;
    const abort = new AbortController();
    const deadline = setTimeout(() => abort.abort(), TIMEOUT_MS);
    const credentials = this._credentials || this._viewer();
    const headers = authorization(credentials);
    if (values) headers['Content-Type'] = 'application/json';
    this._busy += 1;
    let status = 0;
    let answer = null;
    try {
      const path = this._camera.name.split('/').map(encodeURIComponent).join('/');
      const response = await fetch(`/api/v1/cameras/${path}`, {
        method: values ? 'PATCH' : 'GET',
        body: values ? JSON.stringify(values) : undefined,
        headers, signal: abort.signal, cache: 'no-store',
        credentials: 'omit', // else a refusal opens the browser's own dialog
      });
      status = response.status;
      answer = await response.json();
    } catch (error) {
      status = 0;
    } finally {
      clearTimeout(deadline);
      this._busy -= 1;
    }
    if (load === this._load && this._open) this._answered(status, answer, values, credentials);
  }

  _answered(status, answer, values, credentials) {
    if (status === 200 && answer && answer.camera) {
      if (values || this._shape === 'key') this._tell('');
      this._render(answer.camera);
    } else if (status === 401 || status === 403) {
      this._askKey(Boolean(credentials.secret) && answer && answer.error);
    } else {
      this._tell((answer && answer.error) || 'The device does not answer.');
      if (values) this._again(); // a slider must not stay where it could not go
    }
  }

  _again() {
    clearTimeout(this._timer);
    if (document.activeElement && this._body.contains(document.activeElement)) document.activeElement.blur();
    this._ask(null);
    this._timer = setTimeout(() => this._refresh(), REFRESH_MS);
  }

  _tell(sentence) {
    setText(this._fault, sentence);
    this._fault.hidden = !sentence;
  }

  // Somebody moves a slider or types: nothing may change under their hand.
  _isTouched() {
    const active = document.activeElement;
    return Boolean(active) && this._body.contains(active) && /^(INPUT|SELECT)$/.test(active.tagName)
      && (active.type === 'text' || active.type === 'password' || active.matches(':active'));
  }

  _askKey(reason) {
    clearTimeout(this._timer);
    this._credentials = null;
    this._tell(reason ? `The device says: ${reason}.` : '');
    if (this._shape === 'key') return;
    this._shape = 'key';
    this._fields.clear();
    const secret = el('input', {
      type: 'password', 'aria-label': 'Key', placeholder: 'Key', required: true, autocomplete: 'off', spellcheck: 'false',
    });
    const form = el('form', { class: 'key' }, secret, el('button', { class: 'first' }, 'Open'));
    form.addEventListener('submit', (event) => {
      event.preventDefault();
      this._credentials = { user: '', secret: secret.value.trim() };
      store(this._credentials);
      secret.blur(); // by Enter the field keeps the focus, and what is typed in is left alone
      this._refresh();
    });
    this._body.replaceChildren(
      el('p', {}, 'The settings are for who runs this device: show a key that may use the API.'), form);
    secret.focus();
  }

  // -- showing ---------------------------------------------------------------------------------

  _render(camera) {
    const controls = Object.entries(camera.controls || {}).filter(([, each]) => fieldKind(each));
    const presets = Array.isArray(camera.presets) ? camera.presets : [];
    const shape = JSON.stringify([presets, Boolean(camera.overlay),
      controls.map(([name, { type, min, max, step, choices }]) => [name, type, min, max, step, choices])]);
    if (shape !== this._shape) {
      this._shape = shape;
      this._fields.clear();
      this._body.replaceChildren(...this._build(camera, presets, controls));
    }
    this._fields.forEach((put) => put(camera));
  }

  _build(camera, presets, controls) {
    const parts = [this._switch('Camera on', (now) => now.state !== 'off', (value) => ({ enabled: value }))];
    if (camera.overlay) {
      parts.push(this._switch('Text on the picture', (now) => Boolean(now.overlay && now.overlay.shown),
        (value) => ({ overlay: value })));
    }
    if (presets.length) parts.push(this._presets(presets));
    if (camera.overlay) parts.push(this._text());
    parts.push(...controls.map(([name, about]) => this._control(name, about)));
    return parts;
  }

  _switch(label, read, values) {
    const input = el('input', { type: 'checkbox', role: 'switch' });
    input.addEventListener('change', () => this._change(values(input.checked)));
    this._fields.set(label, (camera) => {
      input.checked = read(camera);
    });
    return el('label', { class: 'setting flag' }, el('span', {}, label), input);
  }

  _presets(names) {
    const buttons = names.map((name) => el('button', {
      type: 'button', onclick: () => this._change({ preset: name }),
    }, name));
    this._fields.set('preset', (camera) => buttons.forEach((button, index) => {
      button.setAttribute('aria-pressed', String(camera.preset === names[index]));
    }));
    return el('div', { class: 'setting presets', role: 'group', 'aria-label': 'Presets' }, ...buttons);
  }

  _text() {
    const input = el('input', { type: 'text', maxlength: '200', 'aria-label': 'Text', placeholder: 'Text' });
    const form = el('form', { class: 'setting key' }, input, el('button', {}, 'Show'));
    form.addEventListener('submit', (event) => {
      event.preventDefault();
      input.blur();
      this._change({ text: input.value });
    });
    this._fields.set('text', (camera) => {
      if (document.activeElement !== input) input.value = (camera.overlay && camera.overlay.text) || '';
    });
    return form;
  }

  _control(name, about) {
    const label = name.replaceAll('_', ' ');
    const values = (value) => ({ controls: { [name]: value } });
    const now = (camera) => (camera.controls && camera.controls[name]) || about;
    const kind = fieldKind(about);
    if (kind === 'flag') return this._switch(label, (camera) => Boolean(now(camera).value), values);
    return kind === 'range' ? this._range(name, label, about, now, values) : this._menu(name, label, about, now, values);
  }

  _range(name, label, about, now, values) {
    const step = about.step || (about.type === 'int' ? 1 : (about.max - about.min) / 100);
    const input = el('input', { type: 'range', min: about.min, max: about.max, step, 'aria-label': label });
    const output = el('output', {});
    input.addEventListener('input', () => setText(output, input.value));
    input.addEventListener('change', () => this._change(values(Number(input.value))));
    this._fields.set(`control ${name}`, (camera) => {
      const { value } = now(camera);
      input.value = value;
      setText(output, String(typeof value === 'number' ? Number(value.toFixed(3)) : value));
    });
    return el('label', { class: 'setting' }, el('span', {}, label), output, input);
  }

  _menu(name, label, about, now, values) {
    const options = about.choices.map((choice) => el('option', { value: String(choice) }, String(choice)));
    const select = el('select', { 'aria-label': label }, ...options);
    select.addEventListener('change', () => this._change(values(about.choices[select.selectedIndex])));
    this._fields.set(`control ${name}`, (camera) => {
      select.value = String(now(camera).value);
    });
    return el('label', { class: 'setting flag' }, el('span', {}, label), select);
  }
}

// What shows a control: a slider, a switch, a menu; nothing for what is none of these.
function fieldKind(about) {
  if (!about || typeof about !== 'object') return '';
  if (about.type === 'bool') return 'flag';
  if (Array.isArray(about.choices) && about.choices.length) return 'menu';
  const isRange = NUMBERS.includes(about.type) && typeof about.min === 'number' && about.max > about.min;
  return isRange ? 'range' : '';
}
