// Everything of the report but the alerts themselves.

function headline() {
  const { figures, pipeline, period, tradeoff } = content;
  const found = figures.detection;
  const span = duration(period[1] - period[0]);
  const [unit, units] = content.byTime ? ['window', 'windows'] : ['entity', 'entities'];
  const caught = tradeoff.incidents === null ? null : `${number(tradeoff.chosen[1])} of ${number(tradeoff.incidents)}`;
  const tiles = [
    [number(content.alerts.count), 'alerts', figures.days < 1 ? `${plural(figures.alerts, 'window', 'windows')} alerted in ${span}` : `${number(figures.alerts_per_day)} windows alerted a day`],
    found && [caught, 'known incidents caught', `${number(found.missed)} of ${plural(found.anomalous, 'anomalous ' + unit, 'anomalous ' + units)} missed`],
    found && [number(found.false_alarms), 'false alarms', `precision ${number(found.precision)}, F1 ${number(found.f1)}`],
    [number(figures.events), 'events read', `${number(figures.windows)} windows over ${span}`],
    [number(figures.records.dead_letters), 'lines not understood', `${number(figures.records.late)} came too late`],
  ].filter(Boolean);
  const cells = tiles.map(([value, name, more]) =>
    h('div', { class: 'tile' }, h('dt', {}, name), h('dd', {}, h('strong', {}, value), h('span', {}, more))));
  return h('header', {}, h('p', { class: 'brand' }, 'longwatch backtest'), h('h1', {}, pipeline),
    h('p', { class: 'lead' }, `${clock(period[0], 16)} to ${clock(period[1], 16)} UTC, ${span}`),
    h('dl', { class: 'tiles' }, cells));
}

function timelineSection(list) {
  const { start, step, bins, incidents } = content.timeline;
  const { columns, count } = content.alerts;
  const end = content.period[1];
  const marks = alertMarks(start, step);
  const highest = Math.max(1, ...bins.map((bin) => bin[3]), ...marks.map((at) => columns.score[at]));
  const thresholds = content.timeline.thresholds;
  const label = `Window scores from ${clock(start, 16)} to ${clock(end, 16)}; ${plural(count, 'alert', 'alerts')}, ` +
    `${plural(incidents.length, 'labelled stretch', 'labelled stretches')}.`;
  const draw = (picture, area) => {
    const x = timeAxis(picture, area, start, end);
    const y = scoreScale(highest * 1.1, area.bottom, area.top);
    leftAxis(picture, area, y, scoreTicks(highest));
    for (const [name, from, to] of incidents) {
      const width = Math.max(2, x(to) - x(from));
      picture.append(s('rect', { class: 'incident', x: x(from), y: area.top, width, height: area.bottom - area.top },
        s('title', {}, `known incident on ${name}, ${clock(from)} to ${clock(to)}`)));
    }
    const at = (bin) => x(Math.min(end, start + (bin[0] + 0.5) * step));
    const up = bins.map((bin) => [at(bin), y(bin[2])]);
    const down = bins.map((bin) => [at(bin), y(bin[1])]).reverse();
    picture.append(s('path', { class: 'band', d: path([...up, ...down]) + 'Z' }));
    picture.append(s('path', { class: 'highest', d: path(bins.map((bin) => [at(bin), y(bin[3])])) }));
    for (const [name, value] of thresholds) {
      const line = { class: 'baseline', x1: area.left, x2: area.right, y1: y(value), y2: y(value) };
      picture.append(s('line', line, s('title', {}, `threshold of ${name}: ${value}`)));
    }
    for (const alert of marks) picture.append(alertMark(alert, x(columns.opened[alert]), y(columns.score[alert]), list));
  };
  const keys = [['band', 'median to 90 % of window scores'], ['highest', 'highest']];
  if (thresholds.length) keys.push(['baseline', 'window threshold']);
  const known = content.figures.detection
    ? [['mark true', 'alert on a known incident'], ['mark false', 'other alert'], ['incident', 'known incident']]
    : [['mark unknown', 'alert']];
  return section('timeline', 'Scores over time',
    'How odd the open windows were at each moment, as −log₁₀ of how often normal ones are. Choose a mark to open its alert.',
    legend([...keys, ...known]), chart(label, 260, draw));
}

const highestScore = () => Math.max(...content.timeline.bins.map((bin) => bin[3]));

// Of many alerts in one stretch of time, the highest of each kind is drawn.
function alertMarks(start, step) {
  const { columns, count } = content.alerts;
  const best = new Map();
  for (let at = 0; at < count; at += 1) {
    const key = `${Math.floor((columns.opened[at] - start) / step)} ${columns.true[at]}`;
    if (!best.has(key) || columns.score[at] > columns.score[best.get(key)]) best.set(key, at);
  }
  return [...best.values()];
}

function alertMark(at, x, y, list) {
  const { columns, words } = content.alerts;
  const text = `${words[columns.entity[at]]}, score ${columns.score[at]}, ${clock(columns.opened[at])}`;
  return s('circle', { class: `mark ${columns.true[at] ?? 'unknown'}`, cx: x, cy: y, r: 5, onclick: () => list.open(at) },
    s('title', {}, text));
}

function tradeoffSection() {
  const { curves, chosen, incidents } = content.tradeoff;
  const ours = curves.longwatch;
  const points = Object.values(curves).flat().map((row) => row[1]).concat(chosen[0]).filter((value) => value > 0);
  const [low, high] = [Math.min(...points, 1) * 0.9, Math.max(...points, 1) * 1.1];
  const top = incidents === null ? Math.max(...ours.map((row) => row[0])) : incidents;
  const place = (row) => (incidents === null ? row[0] : row[2]);
  const names = Object.keys(curves);
  const draw = (picture, area) => {
    const x = logarithmic(low, high, area.left, area.right);
    const y = linear(0, top * 1.06 || 1, area.bottom, area.top);
    bottomAxis(picture, area, x, decades(low, high), (value) => number(value, 4));
    leftAxis(picture, area, y, ticks(0, top, 4));
    names.forEach((name, index) => {
      const line = curves[name].map((row) => [x(row[1]), y(place(row))]);
      if (line.length === 1) line.push([line[0][0] + 3, line[0][1]]);
      picture.append(s('path', { class: `curve curve${index}`, d: path(steps(line)) }, s('title', {}, name)));
    });
    if (incidents !== null && chosen[0] > 0) picture.append(diamond(x(chosen[0]), y(chosen[1])));
  };
  const label = incidents === null
    ? `Alerts a day at each threshold; the one that was run gave ${number(chosen[0])} a day.`
    : `Alerts a day against incidents caught; the thresholds that were run gave ${number(chosen[0])} a day and ` +
      `caught ${number(chosen[1])} of ${number(incidents)}.`;
  const keys = names.map((name, index) => [`curve${index}`, index ? `${name} (cheap floor)` : name]);
  if (incidents !== null) keys.push(['chosen', 'as it was run, event and window alerts together']);
  const lead = incidents === null
    ? 'Window threshold (upwards) against alerts a day (to the right). Labels would show here what each threshold catches.'
    : 'Known incidents caught (upwards) against windows alerted a day (to the right): what each threshold on the window score would cost and give.';
  const rows = names.flatMap((name) => curves[name].map((row) => [name, number(row[0], 3), number(row[1]), number(row[2])]));
  return section('tradeoff', 'Other thresholds', lead, legend(keys), chart(label, 260, draw), thresholdPicker(ours, incidents),
    numbers('The curves as numbers', table('Thresholds', ['scores', 'threshold', 'alerts a day', 'caught'], rows, 'narrow')));
}

const diamond = (x, y) => s('path', { class: 'chosen', d: path([[x, y - 7], [x + 7, y], [x, y + 7], [x - 7, y]]) + 'Z' });

function thresholdPicker(rows, incidents) {
  const answer = h('output', { for: 'threshold' });
  const yaml = h('code', {});
  const show = () => {
    const [threshold, daily, caught] = rows[Number(slider.value)];
    const known = incidents === null ? '' : `, ${number(caught)} of ${number(incidents)} incidents caught`;
    answer.textContent = `${number(daily)} alerts a day${known}`;
    yaml.textContent = `thresholds: {default: {window: {score: ${threshold}}}}`;
    slider.setAttribute('aria-valuetext', `window score ${threshold}: ${answer.textContent}`);
  };
  const wanted = content.tradeoff.chosen[0];
  const nearest = rows.reduce((best, row, at) => (Math.abs(row[1] - wanted) < Math.abs(rows[best][1] - wanted) ? at : best), 0);
  const slider = h('input', { type: 'range', id: 'threshold', min: 0, max: rows.length - 1, value: nearest, oninput: () => show() });
  show();
  return h('div', { class: 'picker' }, h('label', { for: 'threshold' }, 'Try a window threshold, strict to loose'), slider,
    answer, yaml);
}

function heatSection(list) {
  const { start, step, entities, rows, of } = content.heat;
  const highest = Math.max(1, ...rows.flat().filter((value) => value !== null));
  const cell = (value, at) => {
    const level = value === null ? 'none' : Math.min(9, Math.floor((value / highest) * 10));
    const time = clock(start + at * step, 16);
    return h('td', { class: `heat heat-${level}`, title: value === null ? `${time}: quiet` : `${time}: ${value}` });
  };
  const body = entities.map(([name, alerted], at) => {
    const button = h('button', { type: 'button', class: 'entity', onclick: () => list.only(name), title: name }, name);
    const count = alerted ? h('span', { class: 'badge' }, number(alerted)) : '';
    return h('tr', {}, h('th', { scope: 'row' }, button, count), rows[at].map(cell));
  });
  const caption = `Highest event score of ${entities.length} of ${plural(of, 'entity', 'entities')}; ` +
    'those with most alerts first. The number counts windows alerted.';
  return section('heat', 'Entities over time', 'Choose an entity to see only its alerts.',
    scroller('Heat map', h('table', { class: 'heatmap' }, h('caption', {}, caption), h('tbody', {}, body))));
}

function driftSection() {
  const { bins, expected, surprise, movers, distance, start, step } = content.drift;
  const ratios = bins.map((bin) => expected.map((share, at) => bin[2 + at] / share));
  const high = Math.max(10, ...ratios.flat());
  const draw = (picture, area) => {
    timeAxis(picture, area, start, content.period[1]);
    const x = linear(start, content.period[1], area.left, area.right);
    const y = logarithmic(0.1, high * 1.2, area.bottom, area.top);
    leftAxis(picture, area, y, decades(0.1, high * 1.2), (value) => `${number(value)}×`);
    picture.append(s('line', { class: 'baseline', x1: area.left, x2: area.right, y1: y(1), y2: y(1) }));
    expected.forEach((_, at) => {
      const line = bins.map((bin, row) => [x(Math.min(start + (bin[0] + 0.5) * step, content.period[1])), y(ratios[row][at])]);
      if (line.length === 1) line.push([line[0][0] + 3, line[0][1]]);
      picture.append(s('path', { class: `curve curve${at}`, d: path(line) }));
    });
  };
  const keys = expected.map((share, at) => [`curve${at}`, `surprise ≥ ${number(surprise[at])} nats, ${percent(share)} of normal events`]);
  const heads = ['from', 'events', ...expected.map((share) => `top ${percent(share)}`), 'unseen templates'];
  const rows = bins.map((bin) => [clock(start + bin[0] * step, 16), number(bin[1]), ...bin.slice(2).map(percent)]);
  const moved = movers.map(([text, before, after]) => [h('code', {}, text), percent(before), percent(after)]);
  return section('drift', 'Is this still the log it learned?',
    'How many times as often as on held-out normal data events were surprising. Lines near 1× mean that the calibration holds; a lasting rise means: train again.',
    legend(keys), chart('Share of surprising events over time, as a multiple of what calibration expects', 220, draw),
    numbers('The same as numbers', table('Share of events', heads, rows)),
    numbers('Templates that changed most', h('p', {}, distance === null
      ? 'All events lie in one half of the time; nothing to compare.'
      : `Distance between the templates of both halves: ${distance} (0 the same, 1 nothing in common).`),
    table('Share of all events', ['template', 'first half', 'second half'], moved)));
}

function provenanceSection() {
  const rows = content.provenance.flatMap(([name, value]) => [h('dt', {}, name), h('dd', {}, h('code', {}, value))]);
  return section('provenance', 'How to get this report again',
    'The same command on the same files gives this page byte for byte.', h('dl', { class: 'provenance' }, rows));
}
