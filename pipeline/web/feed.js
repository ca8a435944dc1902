// The alerts of this run, newest first: one row for each alert, whatever its revision; only rows in sight exist.

const ROW = 56;

class LiveFeed {
  constructor(panel) {
    this.panel = panel;
    this.alerts = new Map();
    this.shown = [];
    this.chosen = null;
    this.search = h('input', { type: 'search', id: 'search', placeholder: 'entity, rule, template or id', oninput: () => this.apply() });
    this.which = h('select', { id: 'which', onchange: () => this.apply() },
      [['raised', 'raised'], ['silenced', 'silenced'], ['all', 'all']].map(([value, text]) => h('option', { value }, text)));
    this.count = h('p', { class: 'count' });
    this.spoken = h('p', { class: 'aloud', role: 'status' });
    this.newer = h('button', { type: 'button', class: 'newer', hidden: true, onclick: () => this.toTop() }, 'Show the newest');
    this.rows = h('div', { role: 'presentation', class: 'rows' });
    this.box = h('div', {
      role: 'listbox', tabindex: '0', class: 'list', id: 'list', 'aria-label': 'Alerts, newest first',
      onscroll: () => requestAnimationFrame(() => this.draw()), onkeydown: (event) => this.key(event),
    }, this.rows);
    new ResizeObserver(() => this.draw()).observe(this.box);
    const field = (label, control) => h('label', { class: 'field' }, h('span', {}, label), control);
    this.element = h('div', { class: 'finder' },
      h('div', { class: 'filters' }, field('Filter', this.search), field('Show', this.which)), this.count, this.newer, this.box, this.spoken);
    this.waiting = [];
  }

  // A burst of messages is drawn once.
  add(alert, silenced) {
    const before = this.alerts.get(alert.alert_id);
    this.alerts.delete(alert.alert_id);
    this.alerts.set(alert.alert_id, { alert, silenced: silenced && (!before || before.silenced), opened: before ? before.opened : alert.window.end_time });
    if (this.alerts.size > 2000) this.alerts.delete(this.alerts.keys().next().value);
    if (!silenced && !before) this.waiting.push(alert.entity);
    if (!this.due) this.due = setTimeout(() => this.refresh(), 120);
  }

  refresh() {
    this.due = null;
    this.apply();
    if (this.chosen && this.alerts.has(this.chosen)) this.panel.renew(this.alerts.get(this.chosen));
    if (!this.waiting.length) return;
    const last = this.waiting[this.waiting.length - 1];
    this.spoken.textContent = `${plural(this.waiting.length, 'new alert', 'new alerts')}, the newest of ${last}`;
    this.waiting = [];
  }

  clear() {
    this.alerts.clear();
    this.apply();
  }

  apply() {
    const words = this.search.value.toLowerCase().split(' ').filter(Boolean);
    const which = this.which.value;
    const text = ({ alert }) => [alert.entity, alert.rule, alert.alert_id, ...alert.top_events.map((event) => event.template)].join(' ').toLowerCase();
    const fits = (each) => (which === 'all' || each.silenced === (which === 'silenced')) &&
      (!words.length || words.every((word) => text(each).includes(word)));
    const held = this.shown[Math.floor(this.box.scrollTop / ROW)];
    this.shown = [...this.alerts.values()].reverse().filter(fits);
    this.rows.style.height = `${this.shown.length * ROW}px`;
    this.count.textContent = plural(this.shown.length, 'alert', 'alerts') +
      (this.shown.length < this.alerts.size ? ` of ${number(this.alerts.size)}` : '');
    this.keepPlace(held);
    this.draw();
  }

  // Whoever reads further down is not moved by what comes in above.
  keepPlace(held) {
    if (!held || this.box.scrollTop < ROW) return;
    const place = this.shown.findIndex(({ alert }) => alert.alert_id === held.alert.alert_id);
    if (place >= 0) this.box.scrollTop = place * ROW + (this.box.scrollTop % ROW);
  }

  toTop() {
    this.box.scrollTop = 0;
    this.move(0);
    this.box.focus({ preventScroll: true });
  }

  get active() {
    const place = this.shown.findIndex(({ alert }) => alert.alert_id === this.at);
    return place < 0 ? 0 : place;
  }

  draw() {
    const first = Math.max(0, Math.floor(this.box.scrollTop / ROW) - 4);
    const last = Math.min(this.shown.length, first + Math.ceil(this.box.clientHeight / ROW) + 8);
    const active = this.active;
    const wanted = [];
    for (let place = first; place < last; place += 1) wanted.push(this.row(place, active));
    this.rows.replaceChildren(...wanted);
    this.newer.hidden = this.box.scrollTop < ROW;
    if (this.shown.length && active >= first && active < last) this.box.setAttribute('aria-activedescendant', `alert-${active}`);
    else this.box.removeAttribute('aria-activedescendant');
  }

  row(place, active) {
    const { alert, silenced } = this.shown[place];
    const top = alert.top_events[0];
    const row = h('div', {
      role: 'option', id: `alert-${place}`, class: `row ${silenced ? 'silenced' : alert.lifecycle}`, 'aria-selected': String(place === active),
      'aria-setsize': this.shown.length, 'aria-posinset': place + 1, onclick: () => this.choose(place),
    },
    h('span', { class: 'score' }, alert.score.toFixed(1)),
    h('span', { class: 'what' }, h('b', {}, alert.entity), h('small', {}, top ? top.template : alert.rule)),
    h('span', { class: 'when' }, alert.window.end_time.slice(5, 16).replace('T', ' '), h('small', {}, silenced ? 'silenced' : STATES[alert.lifecycle])));
    row.style.transform = `translateY(${place * ROW}px)`;
    return row;
  }

  key(event) {
    const page = Math.max(1, Math.floor(this.box.clientHeight / ROW) - 1);
    const last = this.shown.length - 1;
    const moves = { ArrowDown: 1, ArrowUp: -1, PageDown: page, PageUp: -page, Home: -last, End: last };
    if (event.key in moves) this.move(Math.min(last, Math.max(0, this.active + moves[event.key])));
    else if (event.key === 'Enter' || event.key === ' ') this.choose(this.active);
    else return;
    event.preventDefault();
  }

  move(place) {
    if (!this.shown.length) return;
    this.at = this.shown[place].alert.alert_id;
    const top = place * ROW;
    if (top < this.box.scrollTop) this.box.scrollTop = top;
    if (top + ROW > this.box.scrollTop + this.box.clientHeight) this.box.scrollTop = top + ROW - this.box.clientHeight;
    this.draw();
  }

  choose(place) {
    if (!this.shown.length) return;
    this.move(place);
    this.chosen = this.at;
    this.panel.show(this.shown[place], true);
  }

  back() {
    this.box.focus();
  }

  step(by) {
    const place = this.active + by;
    if (place >= 0 && place < this.shown.length) this.choose(place);
  }
}

const STATES = { open: 'open', update: 'rising', close: 'closed' };
