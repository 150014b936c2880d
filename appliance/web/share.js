// Addresses for other devices, as text and as a QR code.

import { breakable, el } from './dom.js';

const SVG = 'http://www.w3.org/2000/svg';
const LOOPBACK = /^(localhost|127\.[0-9.]+|\[::1\])$/;

// Where other devices find us: as the browser does, unless it stands on the device itself.
// lan: the device's own address, '' if nobody else reaches it, null if it need not be known.
export function origin(lan) {
  const { protocol, hostname, port } = window.location;
  if (!LOOPBACK.test(hostname) || !lan) return window.location.origin;
  return `${protocol}//${lan}${port ? `:${port}` : ''}`;
}

// The code appears as soon as its library is there; a device set up without it shows none.
export function qr(text) {
  const box = el('div', { class: 'qr', role: 'img', 'aria-label': `QR code of ${text}` });
  import('./vendor/uqr.mjs').then(
    ({ encode }) => box.append(drawn(encode(text, { ecc: 'M', border: 2 }))),
    () => {
      box.hidden = true;
    },
  );
  return box;
}

function drawn({ size, data }) {
  let path = '';
  data.forEach((row, y) => {
    for (let x = 0; x < size; x += 1) {
      let width = 0;
      while (x + width < size && row[x + width]) width += 1;
      if (width) path += `M${x} ${y}h${width}v1h-${width}z`;
      x += width;
    }
  });
  const svg = document.createElementNS(SVG, 'svg');
  svg.setAttribute('viewBox', `0 0 ${size} ${size}`);
  svg.setAttribute('aria-hidden', 'true');
  const squares = document.createElementNS(SVG, 'path');
  squares.setAttribute('d', path);
  squares.setAttribute('fill', '#000');
  svg.append(squares);
  return svg;
}

// An address breaks after its slashes and nowhere else; copied, it is whole.
export function address(url) {
  return el('span', { class: 'address' }, ...breakable(url));
}

// The code and what to do with it; the address itself too, unless it stands elsewhere.
export function shareRow(path, lan, withAddress) {
  if (lan === '') {
    return [el('p', { class: 'words' }, el('b', {}, 'Only on this device'),
      'Nothing else on the network reaches it: let [http] listen on more than the loopback address.')];
  }
  const url = origin(lan) + path;
  const words = withAddress ? ['Point its camera here, or type ', address(url)] : ['Point its camera at the code.'];
  return [qr(url), el('div', { class: 'words' }, el('b', {}, 'Open on the iPad'), ...words)];
}
