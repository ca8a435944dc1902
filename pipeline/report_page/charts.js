// Charts as SVG, drawn for the width there is, and again when it changes.

function chart(label, height, draw) {
  const picture = s('svg', { role: 'img', 'aria-label': label, height });
  const frame = h('div', { class: 'chart' }, picture);
  new ResizeObserver(() => {
    const width = Math.max(260, frame.clientWidth);
    if (Number(picture.getAttribute('width')) === width) return;
    picture.setAttribute('width', width);
    picture.replaceChildren();
    draw(picture, { left: 44, right: width - 10, top: 12, bottom: height - 26, width });
  }).observe(frame);
  return frame;
}

function linear(low, high, from, to) {
  const span = high - low || 1;
  return (value) => from + ((value - low) / span) * (to - from);
}

function logarithmic(low, high, from, to) {
  const inner = linear(Math.log10(low), Math.log10(high), from, to);
  return (value) => inner(Math.log10(Math.max(value, low)));
}

// Scores reach from below 1 to hundreds; their logarithm keeps the low ones apart and begins at 0.
function scoreScale(highest, from, to) {
  const inner = linear(0, Math.log1p(highest), from, to);
  return (value) => inner(Math.log1p(Math.max(0, value)));
}

const scoreTicks = (highest) => [0, 1, 3, 10, 30, 100, 300, 1000, 3000].filter((value) => value <= highest * 1.05);

function ticks(low, high, count) {
  const rough = (high - low || 1) / count;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((each) => each * power).find((each) => each >= rough);
  const found = [];
  for (let at = Math.ceil(low / step) * step; at <= high + step / 1e6; at += step) found.push(Number(at.toPrecision(12)));
  return found;
}

function decades(low, high) {
  const found = [];
  for (let power = Math.ceil(Math.log10(low)); 10 ** power <= high * 1.0001; power += 1) found.push(10 ** power);
  return found;
}

function leftAxis(picture, area, scale, values, show = number) {
  for (const value of values) {
    const y = scale(value);
    picture.append(s('line', { class: 'grid', x1: area.left, x2: area.right, y1: y, y2: y }));
    picture.append(s('text', { x: area.left - 6, y: y + 4, 'text-anchor': 'end' }, show(value)));
  }
}

function bottomAxis(picture, area, scale, values, show) {
  for (const value of values) {
    const x = scale(value);
    const anchor = x < area.left + 30 ? 'start' : x > area.right - 30 ? 'end' : 'middle';
    picture.append(s('line', { class: 'grid', x1: x, x2: x, y1: area.bottom, y2: area.bottom + 4 }));
    picture.append(s('text', { x, y: area.bottom + 18, 'text-anchor': anchor }, show(value)));
  }
}

function timeAxis(picture, area, low, high) {
  const count = Math.max(2, Math.min(8, Math.floor((area.right - area.left) / 120)));
  const scale = linear(low, high, area.left, area.right);
  const values = Array.from({ length: count }, (_, at) => low + ((high - low) * at) / (count - 1));
  const days = high - low > 3 * 86400000;
  const show = (ms) => (high - low < 120000 ? clock(ms).slice(11) : days ? clock(ms, 10) : clock(ms, 16).slice(5));
  bottomAxis(picture, area, scale, values, show);
  return scale;
}

const path = (points) => points.map(([x, y], at) => `${at ? 'L' : 'M'}${x.toFixed(1)} ${y.toFixed(1)}`).join('');

function legend(entries) {
  const marks = entries.map(([shape, text]) => h('li', {}, h('span', { class: `key ${shape}`, 'aria-hidden': 'true' }), text));
  return h('ul', { class: 'legend' }, marks);
}

// Between two thresholds nothing is caught in part: the line goes to the right, then up.
const steps = (points) => points.flatMap(([x, y], at) => (at ? [[x, points[at - 1][1]], [x, y]] : [[x, y]]));
