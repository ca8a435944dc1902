// What changes by the second: throughput, lag, surprise of entities, open windows.

function throughputChart() {
  let values = [0];
  let redraw = () => {};
  const picture = s('svg', { role: 'img', 'aria-label': 'Records a second', height: 150 });
  const frame = h('div', { class: 'chart' }, picture);
  const draw = () => {
    const width = Math.max(260, frame.clientWidth);
    picture.setAttribute('width', width);
    picture.replaceChildren();
    const area = { left: 52, right: width - 10, top: 12, bottom: 124 };
    const highest = Math.max(1, ...values);
    const y = linear(0, highest * 1.05, area.bottom, area.top);
    const x = linear(-299, 0, area.left, area.right);
    leftAxis(picture, area, y, ticks(0, highest, 3), (value) => number(value, 0));
    bottomAxis(picture, area, x, width < 500 ? [-240, -120, 0] : [-240, -180, -120, -60, 0], (value) => (value ? `${-value / 60} min ago` : 'now'));
    const points = values.map((value, at) => [x(at - values.length + 1), y(value)]);
    picture.append(s('path', { class: 'highest', d: path(points) }));
  };
  new ResizeObserver(() => draw()).observe(frame);
  redraw = (bySecond) => {
    values = bySecond.length > 1 ? bySecond.slice(0, -1) : [0];
    const now = values[values.length - 1];
    picture.setAttribute('aria-label', `Records a second: ${number(now)} now, at most ${number(Math.max(...values))} in the last five minutes`);
    draw();
  };
  return { element: frame, update: redraw };
}

// Surprise in nats: each step of the scale is the natural logarithm's doubling, so that rare heights stay apart.
const heatOf = (surprise) => (surprise <= 0 ? 0 : Math.min(9, 1 + Math.floor(surprise / 1.6)));

function entityTable() {
  const body = h('tbody', {});
  const caption = h('caption', {}, 'Highest surprise in each ten seconds, newest on the right; darker is more surprising');
  const heads = ['entity', 'events', 'mean', 'highest', 'last five minutes'].map((text) => h('th', { scope: 'col' }, text));
  const whole = h('table', { class: 'trails' }, caption, h('thead', {}, h('tr', {}, heads)), body);
  const update = (rows) => {
    body.replaceChildren(...rows.map(([entity, trail, events, mean]) => {
      const highest = Math.max(...trail);
      const cells = trail.map((value) => h('span', { class: `cell heat-${heatOf(value)}` }));
      const strip = h('div', { class: 'strip', role: 'img', 'aria-label': `highest ${highest} nats, now ${trail[trail.length - 1]}` }, cells);
      return h('tr', {}, h('th', { scope: 'row' }, entity), h('td', {}, number(events)), h('td', {}, mean.toFixed(2)),
        h('td', {}, highest.toFixed(1)), h('td', {}, strip));
    }));
  };
  return { element: scroller('Surprise by entity', whole), update };
}

function windowTable() {
  const body = h('tbody', {});
  const caption = h('caption', {});
  const heads = ['entity', 'window score', 'event score', 'events', 'began', 'last event', 'rule'];
  const head = h('tr', {}, heads.map((text) => h('th', { scope: 'col' }, text)));
  const whole = h('table', {}, caption, h('thead', {}, head), body);
  const update = (rows, open) => {
    caption.textContent = rows.length < open
      ? `The ${rows.length} highest of ${number(open)} open sessions` : `${plural(open, 'open session', 'open sessions')}`;
    body.replaceChildren(...rows.map(([entity, partition, rule, window, event, events, start, last]) => h('tr', {},
      h('th', { scope: 'row', title: partition }, entity), h('td', {}, window.toFixed(1)), h('td', {}, event.toFixed(1)),
      h('td', {}, number(events)), h('td', {}, clock(start)), h('td', {}, clock(last)), h('td', {}, rule))));
  };
  return { element: scroller('Open windows', whole), update };
}

function lagTable() {
  const body = h('tbody', {});
  const whole = h('table', { class: 'narrow' }, h('caption', {}, 'Records not read yet, by partition'),
    h('thead', {}, h('tr', {}, h('th', { scope: 'col' }, 'partition'), h('th', { scope: 'col' }, 'lag'))), body);
  const element = numbers('Lag by partition', scroller('Lag by partition', whole));
  const update = (lag) => {
    element.hidden = lag.length === 0;
    body.replaceChildren(...lag.map(([name, left]) => h('tr', {}, h('td', {}, name), h('td', {}, number(left)))));
  };
  return { element, update };
}
