// The list of alerts, filtered and sorted.

class AlertList extends RowList {
  constructor(panel) {
    super(panel, 'Alerts');
    this.columns = content.alerts.columns;
    this.words = content.alerts.words;
    this.active = 0;
    this.build();
    this.apply();
  }

  build() {
    this.search = this.filter();
    this.order = this.select('order', [['score', 'highest score'], ['opened', 'first opened'], ['entity', 'entity']]);
    this.truth = this.select('truth', [['all', 'all'], ['true', 'on known incidents'], ['false', 'false alarms']]);
    this.count = h('p', { class: 'count', role: 'status' });
    const truth = content.figures.detection ? this.field('Show', this.truth) : null;
    this.element = h('div', { class: 'finder' },
      h('div', { class: 'filters' }, this.field('Filter', this.search), this.field('Sort by', this.order), truth), this.count, this.box);
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
    this.resize(content.alerts.count);
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

  told(at) {
    const { id, entity, rule, opened, score, top } = this.columns;
    const truth = this.columns.true[at];
    return {
      id: id[at],
      kind: truth ?? 'unknown',
      score: score[at],
      name: this.words[entity[at]],
      detail: top[at].length ? this.words[top[at][0][2]] : this.words[rule[at]],
      when: clock(opened[at], 16).slice(5),
      state: verdict(truth),
    };
  }

  mark(place) {
    this.active = place;
  }

  open(at) {
    if (!this.shown.includes(at)) this.only('');
    this.choose(this.shown.indexOf(at));
  }
}

const verdict = (truth) => (truth === null ? '' : truth ? 'known incident' : 'false alarm');
