// A list of which only the rows in sight exist, so that 100,000 scroll as 10 do: arrows move, Enter and space choose.

const ROW = 56;

class RowList {
  // Whoever extends it fills `shown`, has an `active` place, and says what a row holds and what moving to one marks.
  constructor(panel, label) {
    this.panel = panel;
    this.shown = [];
    this.rows = h('div', { role: 'presentation', class: 'rows' });
    this.box = h('div', {
      role: 'listbox', tabindex: '0', class: 'list', id: 'list', 'aria-label': label,
      onscroll: () => requestAnimationFrame(() => this.draw()), onkeydown: (event) => this.key(event),
    }, this.rows);
    new ResizeObserver(() => this.draw()).observe(this.box);
  }

  field(label, control) {
    return h('label', { class: 'field' }, h('span', {}, label), control);
  }

  filter() {
    return h('input', { type: 'search', id: 'search', placeholder: 'entity, rule, template or id', oninput: () => this.apply() });
  }

  // Room for all rows, and how many of how many there are.
  resize(total) {
    this.rows.style.height = `${this.shown.length * ROW}px`;
    this.count.textContent = plural(this.shown.length, 'alert', 'alerts') + (this.shown.length < total ? ` of ${number(total)}` : '');
  }

  draw() {
    const first = Math.max(0, Math.floor(this.box.scrollTop / ROW) - 4);
    const last = Math.min(this.shown.length, first + Math.ceil(this.box.clientHeight / ROW) + 8);
    const active = this.active;
    const wanted = [];
    for (let place = first; place < last; place += 1) wanted.push(this.row(place, active));
    this.rows.replaceChildren(...wanted);
    if (this.shown.length && active >= first && active < last) this.box.setAttribute('aria-activedescendant', `alert-${active}`);
    else this.box.removeAttribute('aria-activedescendant');
  }

  row(place, active) {
    const { id, kind, score, name, detail, when, state } = this.told(this.shown[place]);
    const row = h('div', {
      role: 'option', id: `alert-${place}`, 'data-alert': id, class: `row ${kind}`, 'aria-selected': String(place === active),
      'aria-setsize': this.shown.length, 'aria-posinset': place + 1, onclick: () => this.choose(place),
    },
    h('span', { class: 'score' }, score.toFixed(1)),
    h('span', { class: 'what' }, h('b', {}, name), h('small', {}, detail)),
    h('span', { class: 'when' }, when, h('small', {}, state)));
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
    this.mark(place);
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

  back() {
    this.box.focus();
  }

  step(by) {
    const place = this.active + by;
    if (place >= 0 && place < this.shown.length) this.choose(place);
  }
}
