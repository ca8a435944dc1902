// Puts the page together and follows the worker's stream, which the browser takes up again by itself after a break.

const panel = new OpenedAlert();
const feed = new LiveFeed(panel);
panel.feed = feed;
const marks = new Marks();
panel.forAlert = content.feedback ? (row) => marks.form(row.alert) : null;
const slider = new ThresholdSlider();
const throughput = throughputChart();
const lag = lagTable();
const entities = entityTable();
const windows = windowTable();

const TILES = [
  ['rate', 'records a second', (state) => number(state.rate, state.rate < 10 ? 1 : 0)],
  ['lag', 'records not read yet', (state) => (state.lagTotal === null ? 'no end known' : number(state.lagTotal))],
  ['windows', 'open windows', (state) => number(state.openWindows)],
  ['alerts', 'alert messages since the start', (state) => number(state.alerts)],
];
const tiles = new Map(TILES.map(([id]) => [id, h('strong', { id: `tile-${id}` }, '–')]));
const link = h('span', { class: 'tag link', id: 'link', role: 'status' }, 'connecting');
const trouble = h('p', { class: 'trouble', role: 'alert', hidden: true });
const more = h('p', { class: 'meta', id: 'counts' });

const headline = h('header', {},
  h('p', { class: 'brand' }, 'longwatch, live'),
  h('h1', {}, content.pipeline, ' ', link),
  h('p', { class: 'lead' }, `Worker ${content.instance || 'without a name'}, bundle ${content.bundle}, configuration ${content.config}.`),
  h('dl', { class: 'tiles' }, TILES.map(([id, label]) => h('div', { class: 'tile' }, h('dt', {}, label), h('dd', {}, tiles.get(id))))),
  more, trouble);

const sections = [
  section('alerts', 'Alerts', 'As they are committed, newest first. Arrow keys move, Enter opens.',
    h('div', { class: 'split' }, feed.element, panel.element)),
  marks.section(),
  section('thresholds', 'Thresholds', 'How many alerts a day another threshold would give, before it is applied.', slider.element),
  section('entities', 'Surprise by entity', 'The entities whose events surprised the network most in the last five minutes.', entities.element),
  section('windows', 'Open windows', 'The highest scores among the windows that are still open.', windows.element),
  section('throughput', 'Throughput', 'Records a second over the last five minutes.', throughput.element, lag.element),
];
document.getElementById('page').append(headline, h('main', {}, sections));

function say(text, shape) {
  if (link.textContent !== text) link.textContent = text;
  link.className = `tag link ${shape}`;
}

function showTrouble(text) {
  trouble.hidden = !text;
  if (trouble.textContent !== text) trouble.textContent = text;
}

let heard = 0;
function state(told) {
  heard = performance.now();
  for (const [id, , show] of TILES) tiles.get(id).textContent = show(told);
  more.textContent = `${number(told.records)} records, ${plural(told.deadLetters, 'dead letter', 'dead letters')}, ` +
    `${number(told.late)} late, ${plural(told.suppressed, "alert message", "alert messages")} silenced, ${plural(told.commits, 'commit', 'commits')}, ${number(told.aborted)} aborted, ${number(told.pending)} outputs waiting`;
  say(told.behind ? 'waiting for a broker' : 'live', told.behind ? 'close' : 'true');
  throughput.update(told.bySecond);
  lag.update(told.lag);
  entities.update(told.entities);
  windows.update(told.windows, told.openWindows);
  slider.update(told.seen);
  marks.update(told.marks);
}

const stream = new EventSource('events');
const on = (name, act) => stream.addEventListener(name, (event) => act(JSON.parse(event.data)));
on('begin', ({ anew }) => {
  feed.clear();
  if (anew) showTrouble('The worker was started again: the alerts below are those of its new run.');
});
on('alert', ({ alert, silenced }) => feed.add(alert, silenced));
on('missed', ({ count }) => showTrouble(`${plural(count, 'alert message', 'alert messages')} went by faster than this page read; the alerts topic has them all.`));
on('state', state);
stream.onerror = () => say(stream.readyState === EventSource.CLOSED ? 'refused: load the page again' : 'no connection, trying again', 'false');
setInterval(() => {
  if (heard && stream.readyState === EventSource.OPEN && performance.now() - heard > 5000) say('the worker is busy', 'close');
}, 1000);
