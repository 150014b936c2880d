// Asks for the key, or the user and password, of a device that does not let everybody watch.

import { el } from './dom.js';

export function keyNote(feed) {
  const plain = { autocomplete: 'off', spellcheck: 'false', autocapitalize: 'off' };
  const user = el('input', { ...plain, name: 'user', 'aria-label': 'User', placeholder: 'User, if any' });
  const secret = el('input', {
    ...plain, type: 'password', name: 'secret', 'aria-label': 'Key or password', placeholder: 'Key or password', required: true,
  });
  const form = el('form', { class: 'key' }, secret, user, el('button', { class: 'first' }, 'Watch'));
  if (feed.wrong) form.append(el('p', { class: 'wrong', role: 'alert' }, 'That opens nothing here.'));
  form.addEventListener('submit', (event) => {
    event.preventDefault();
    feed.setCredentials(user.value, secret.value);
  });
  return el('div', { class: 'note' },
    el('h2', {}, 'A key is needed'),
    el('p', {}, 'Whoever runs this device has one, or makes one with ', el('code', {}, 'porthole user add'),
      '. It is kept until this window closes.'),
    form);
}

// Refused although who asks is known, or because of where they ask from.
export function refusedNote(feed, reason) {
  return el('div', { class: 'note' },
    el('h2', {}, 'Not from here'),
    el('p', {}, `This device says: ${reason}. Ask whoever runs it, or open this page from its own network.`),
    feed.credentials.secret ? el('button', { type: 'button', onclick: () => feed.setCredentials('', '') }, 'Use another key') : null);
}
