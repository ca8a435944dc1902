// Elements, numbers and times. Text from logs becomes text nodes only, never markup.

const content = JSON.parse(document.getElementById('content').textContent);
const SVG = 'http://www.w3.org/2000/svg';

function fill(element, properties, children) {
  for (const [name, value] of Object.entries(properties || {})) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith('on')) element.addEventListener(name.slice(2), value);
    else element.setAttribute(name, value === true ? '' : value);
  }
  element.append(...children.flat().filter((child) => child !== null && child !== undefined));
  return element;
}

const h = (tag, properties, ...children) => fill(document.createElement(tag), properties, children);
const s = (tag, properties, ...children) => fill(document.createElementNS(SVG, tag), properties, children);

const number = (value, digits = 2) =>
  value === null ? '–' : value.toLocaleString('en-GB', { maximumFractionDigits: digits });
const percent = (share) => (share * 100).toLocaleString('en-GB', { maximumSignificantDigits: 3 }) + ' %';
const plural = (count, one, many) => `${number(count)} ${count === 1 ? one : many}`;
const clock = (ms, length = 19) => new Date(ms).toISOString().replace('T', ' ').slice(0, length);

function duration(ms) {
  const units = [['d', 86400000], ['h', 3600000], ['min', 60000], ['s', 1000]];
  const [unit, size] = units.find(([, each]) => Math.abs(ms) >= each) || ['ms', 1];
  return `${number(ms / size, ms / size < 10 ? 1 : 0)} ${unit}`;
}

function section(id, title, lead, ...children) {
  const heading = h('h2', { id: `${id}-title` }, title);
  return h('section', { id, 'aria-labelledby': `${id}-title` }, heading, lead && h('p', { class: 'lead' }, lead), children);
}

function table(caption, heads, rows, shape = '') {
  const head = h('tr', {}, heads.map((text) => h('th', { scope: 'col' }, text)));
  const body = rows.map((row) => h('tr', {}, row.map((cell) => h('td', {}, cell))));
  const whole = h('table', { class: shape }, h('caption', {}, caption), h('thead', {}, head), h('tbody', {}, body));
  return scroller(caption, whole);
}

// What may be wider than a phone scrolls by itself, and a keyboard can reach it.
const scroller = (label, ...children) =>
  h('div', { class: 'scroller', tabindex: '0', role: 'region', 'aria-label': label }, children);

const numbers = (summary, ...children) => h('details', {}, h('summary', {}, summary), children);
