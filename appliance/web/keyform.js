// Asks for the key of a device that does not let everybody watch.

import { el } from './dom.js';

export function keyNote(feed) {
  const input = el('input', {
    type: 'password', name: 'key', autocomplete: 'off', spellcheck: 'false', autocapitalize: 'off',
    'aria-label': 'Key', placeholder: 'Key', required: true,
  });
  const form = el('form', { class: 'key' }, input, el('button', { class: 'first' }, 'Watch'));
  if (feed.wrong) form.append(el('p', { class: 'wrong', role: 'alert' }, 'That key does not open anything here.'));
  form.addEventListener('submit', (event) => {
    event.preventDefault();
    feed.setKey(input.value);
  });
  return el('div', { class: 'note' },
    el('h2', {}, 'A key is needed'),
    el('p', {}, 'Whoever runs this device has it; porthole user makes new ones. '
      + 'It is kept until this window closes.'),
    form);
}

// Refused although who asks is known, or because of where they ask from.
export function refusedNote(feed, reason) {
  return el('div', { class: 'note' },
    el('h2', {}, 'Not from here'),
    el('p', {}, `This device says: ${reason}. Ask whoever runs it, or open this page from its own network.`),
    feed.key ? el('button', { type: 'button', onclick: () => feed.setKey('') }, 'Use another key') : null);
}
