// Elements without markup: text is always a text node, so no name can become an element.

export function el(tag, attributes, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes || {})) {
    if (name.startsWith('on')) node.addEventListener(name.slice(2), value);
    else if (value === true) node.setAttribute(name, '');
    else if (value !== false && value !== null && value !== undefined) node.setAttribute(name, value);
  }
  node.append(...children.filter((child) => child !== null && child !== undefined));
  return node;
}

export function setText(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

// A path or address that breaks after its slashes, and within a part only where a line is too short for it.
export function breakable(path) {
  const parts = path.match(/(?:https?:\/\/)?[^/]*\/?/g).filter((part) => part !== '');
  return parts.map((part) => el('span', { class: 'part' }, part));
}

// Fills a <dl>: [label, text, class]. What stays keeps its node, so nothing flickers.
export function setFigures(list, figures) {
  while (list.children.length > figures.length) list.lastElementChild.remove();
  figures.forEach(([label, text, kind], index) => {
    let row = list.children[index];
    if (!row) {
      row = el('div', {}, el('dt'), el('dd'));
      list.append(row);
    }
    if (row.className !== (kind || '')) row.className = kind || '';
    setText(row.firstElementChild, label);
    setText(row.lastElementChild, text);
  });
}

// Plain http is no secure context, so there is often no navigator.clipboard on a LAN.
export async function copy(text) {
  if (navigator.clipboard && window.isSecureContext) {
    try {
      await navigator.clipboard.writeText(text);
      return true;
    } catch (error) {
      // Refused by the browser; the old way may still be allowed.
    }
  }
  const area = el('textarea', { class: 'unseen', readonly: true, 'aria-hidden': 'true' });
  area.value = text;
  document.body.append(area);
  const focused = document.activeElement;
  area.select();
  area.setSelectionRange(0, text.length);
  let done = false;
  try {
    done = document.execCommand('copy');
  } catch (error) {
    done = false;
  }
  area.remove();
  if (focused && focused.focus) focused.focus();
  return done;
}

export function copyButton(text) {
  const button = el('button', { type: 'button', 'aria-label': `Copy ${text}` }, 'Copy');
  button.addEventListener('click', async () => {
    setText(button, (await copy(text)) ? 'Copied' : 'Select it by hand');
    setTimeout(() => setText(button, 'Copy'), 2000);
  });
  return button;
}
