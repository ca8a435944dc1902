// The alerts of this run, newest first: one row for each alert, whatever its revision.

class LiveFeed extends RowList {
  constructor(panel) {
    super(panel, 'Alerts, newest first');
    this.alerts = new Map();
    this.chosen = null;
    this.search = this.filter();
    this.which = h('select', { id: 'which', onchange: () => this.apply() },
      [['raised', 'raised'], ['silenced', 'silenced'], ['all', 'all']].map(([value, text]) => h('option', { value }, text)));
    this.count = h('p', { class: 'count' });
    this.spoken = h('p', { class: 'aloud', role: 'status' });
    this.newer = h('button', { type: 'button', class: 'newer', hidden: true, onclick: () => this.toTop() }, 'Show the newest');
    this.element = h('div', { class: 'finder' },
      h('div', { class: 'filters' }, this.field('Filter', this.search), this.field('Show', this.which)), this.count, this.newer, this.box, this.spoken);
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
    this.resize(this.alerts.size);
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
    super.draw();
    this.newer.hidden = this.box.scrollTop < ROW;
  }

  told({ alert, silenced }) {
    const top = alert.top_events[0];
    return {
      id: alert.alert_id,
      kind: silenced ? 'silenced' : alert.lifecycle,
      score: alert.score,
      name: alert.entity,
      detail: top ? top.template : alert.rule,
      when: alert.window.end_time.slice(5, 16).replace('T', ' '),
      state: silenced ? 'silenced' : STATES[alert.lifecycle],
    };
  }

  mark(place) {
    this.at = this.shown[place].alert.alert_id;
  }

  choose(place) {
    if (this.shown.length) this.chosen = this.shown[place].alert.alert_id;
    super.choose(place);
  }
}

const STATES = { open: 'open', update: 'rising', close: 'closed' };
