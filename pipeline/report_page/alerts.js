// The list of alerts: filtered and sorted, and only the rows in sight exist, so that 100,000 scroll as 10 do.

const ROW = 56;

class AlertList {
  constructor(panel) {
    this.panel = panel;
    this.columns = content.alerts.columns;
    this.words = content.alerts.words;
    this.active = 0;
    this.build();
    this.apply();
  }

  build() {
    this.search = h('input', { type: 'search', id: 'search', placeholder: 'entity, rule, template or id', oninput: () => this.apply() });
    this.order = this.select('order', [['score', 'highest score'], ['opened', 'first opened'], ['entity', 'entity']]);
    this.truth = this.select('truth', [['all', 'all'], ['true', 'on known incidents'], ['false', 'false alarms']]);
    this.count = h('p', { class: 'count', role: 'status' });
    this.rows = h('div', { role: 'presentation', class: 'rows' });
    this.box = h('div', {
      role: 'listbox', tabindex: '0', class: 'list', id: 'list', 'aria-label': 'Alerts',
      onscroll: () => requestAnimationFrame(() => this.draw()), onkeydown: (event) => this.key(event),
    }, this.rows);
    new ResizeObserver(() => this.draw()).observe(this.box);
    const field = (label, control) => h('label', { class: 'field' }, h('span', {}, label), control);
    const truth = content.figures.detection ? field('Show', this.truth) : null;
    this.element = h('div', { class: 'finder' },
      h('div', { class: 'filters' }, field('Filter', this.search), field('Sort by', this.order), truth), this.count, this.box);
  }

  select(id, options) {
    return h('select', { id, onchange: () => this.apply() }, options.map(([value, text]) => h('option', { value }, text)));
  }

  only(entity) {
    this.search.value = entity;
    this.truth.value = 'all';
    this.apply();
    this.element.scrollIntoView({ block: 'start' });
    this.box.focus({ preventScroll: true });
  }

  matches(words) {
    const hit = this.words.map((word) => words.every((each) => word.toLowerCase().includes(each)));
    const { entity, rule, top, id } = this.columns;
    return (at) => hit[entity[at]] || hit[rule[at]] || words.every((each) => id[at].startsWith(each)) ||
      top[at].some((event) => hit[event[2]]);
  }

  apply() {
    const words = this.search.value.toLowerCase().split(' ').filter(Boolean);
    const fits = words.length ? this.matches(words) : () => true;
    const truth = this.truth.value;
    this.shown = [];
    for (let at = 0; at < content.alerts.count; at += 1) {
      if ((truth === 'all' || String(this.columns.true[at]) === truth) && fits(at)) this.shown.push(at);
    }
    this.sort();
    this.rows.style.height = `${this.shown.length * ROW}px`;
    this.count.textContent = `${plural(this.shown.length, 'alert', 'alerts')}` +
      (this.shown.length < content.alerts.count ? ` of ${number(content.alerts.count)}` : '');
    this.active = 0;
    this.box.scrollTop = 0;
    this.draw();
  }

  sort() {
    const { score, opened, entity } = this.columns;
    const orders = {
      score: (a, b) => score[b] - score[a] || a - b,
      opened: (a, b) => opened[a] - opened[b] || a - b,
      entity: (a, b) => (this.words[entity[a]] < this.words[entity[b]] ? -1 : entity[a] === entity[b] ? score[b] - score[a] : 1),
    };
    this.shown.sort(orders[this.order.value]);
  }

  draw() {
    const first = Math.max(0, Math.floor(this.box.scrollTop / ROW) - 4);
    const last = Math.min(this.shown.length, first + Math.ceil(this.box.clientHeight / ROW) + 8);
    const wanted = [];
    for (let place = first; place < last; place += 1) wanted.push(this.row(place));
    this.rows.replaceChildren(...wanted);
    if (this.shown.length) this.box.setAttribute('aria-activedescendant', `alert-${this.active}`);
    else this.box.removeAttribute('aria-activedescendant');
    if (this.active < first || this.active >= last) this.box.removeAttribute('aria-activedescendant');
  }

  row(place) {
    const at = this.shown[place];
    const { entity, rule, opened, score, top } = this.columns;
    const truth = this.columns.true[at];
    const row = h('div', {
      role: 'option', id: `alert-${place}`, class: `row ${truth ?? 'unknown'}`, 'aria-selected': String(place === this.active),
      'aria-setsize': this.shown.length, 'aria-posinset': place + 1, onclick: () => this.choose(place),
    },
    h('span', { class: 'score' }, score[at].toFixed(1)),
    h('span', { class: 'what' }, h('b', {}, this.words[entity[at]]),
      h('small', {}, top[at].length ? this.words[top[at][0][2]] : this.words[rule[at]])),
    h('span', { class: 'when' }, clock(opened[at], 16).slice(5), h('small', {}, verdict(truth))));
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
    this.active = place;
    const top = place * ROW;
    if (top < this.box.scrollTop) this.box.scrollTop = top;
    if (top + ROW > this.box.scrollTop + this.box.clientHeight) this.box.scrollTop = top + ROW - this.box.clientHeight;
    this.draw();
  }

  choose(place) {
    if (!this.shown.length) return;
    this.move(place);
    this.panel.show(this.shown[place], true);
  }

  open(at) {
    if (!this.shown.includes(at)) this.only('');
    this.choose(this.shown.indexOf(at));
  }

  back() {
    this.box.focus();
  }

  step(by) {
    const place = this.active + by;
    if (place >= 0 && place < this.shown.length) this.choose(place);
  }
}

const verdict = (truth) => (truth === null ? '' : truth ? 'known incident' : 'false alarm');
