// One alert opened: what stands out, how much each event surprised, and the events around it.

const IN_TABLE = 8;

class AlertPanel {
  constructor() {
    this.columns = content.alerts.columns;
    this.words = content.alerts.words;
    this.element = h('article', { class: 'panel', 'aria-label': 'Alert' },
      h('p', { class: 'lead' }, content.alerts.count ? 'Choose an alert to see its events.' : `No alert was raised: the highest window score is ${number(highestScore())}. “Other thresholds” says what a lower one would have given.`));
  }

  show(at, focus) {
    const { id, entity, rule, score, threshold, events, span, source, closed, top } = this.columns;
    const title = h('h3', { tabindex: '-1', id: 'alert-title' }, this.words[entity[at]]);
    const facts = [
      ['score', `${score[at]} (threshold ${threshold[at]})`],
      ['rule', this.words[rule[at]]],
      ['window', `${number(events[at])} events, ${clock(span[at][0])} to ${clock(span[at][1])} UTC`],
      ['opened at', `${this.words[source[at][0]]} [${source[at][1]}] offset ${source[at][2]}`],
      ['closed by', this.words[closed[at]] || 'still open'],
      ['id', id[at]],
    ];
    const truth = this.columns.true[at];
    const tag = truth === null ? null : h('span', { class: `tag ${truth}` }, verdict(truth));
    this.element.replaceChildren(
      h('div', { class: 'bar' }, this.button('Back to the list', () => this.list.back()),
        this.button('Previous', () => this.list.step(-1)), this.button('Next', () => this.list.step(1))),
      title, tag || '',
      h('dl', { class: 'facts' }, facts.flatMap(([name, text]) => [h('dt', {}, name), h('dd', {}, text)])),
      h('h4', {}, top[at].length ? 'What stands out' : 'Its events are not in the alert (alerts.top_events: 0)'),
      h('ol', { class: 'tops' }, alike(top[at]).map((events) => this.top(events[0], events.length))),
      ...this.why(at), ...this.around(at));
    if (focus) title.focus({ preventScroll: false });
  }

  button(text, onclick) {
    return h('button', { type: 'button', onclick }, text);
  }

  top([offset, time, template, evidence, line, surprise, score, usual], times) {
    const reasons = this.words[evidence].split(', ').filter(Boolean).map((name) => h('li', {}, content.meaning[name] || name));
    const missing = offset === null ? h('p', {}, 'The window ended here: something that usually follows did not come.') : null;
    const more = times > 1 ? h('p', {}, `and ${plural(times - 1, 'more', 'more')} of the same kind among the highest`) : null;
    return h('li', {}, h('p', { class: 'event' }, h('code', {}, line || this.words[template])), missing,
      h('p', { class: 'meta' }, `score ${score}, surprise ${surprise} nats, ${clock(time, 23)}` + (offset === null ? '' : `, offset ${offset}`)),
      reasons.length ? h('ul', { class: 'reasons' }, reasons) : null, usual ? this.usual(usual) : null, more);
  }

  usual([before, times, instead]) {
    const shares = instead.map(([text, share]) => h('li', {}, h('b', {}, percent(share)), ' ', h('code', {}, this.words[text])));
    return h('div', {}, h('p', { class: 'meta' }, `In training this came ${number(times)} times before something else: `,
      h('code', {}, this.words[before])), h('p', { class: 'meta' }, 'It was followed by'), h('ul', { class: 'shares' }, shares));
  }

  why(at) {
    const found = content.alerts.why[at];
    if (!found) return [h('p', { class: 'lead' }, 'What was expected instead, and what the score hangs on: ',
      h('code', {}, `longwatch explain ${this.columns.id[at].slice(0, 12)}`))];
    const instead = found.instead.map(([text, share]) => h('li', {}, h('b', {}, percent(share)), ' ', h('code', {}, text)));
    return [h('h4', {}, 'What the network expected there'), instead.length ? h('ul', { class: 'shares' }, instead)
      : h('p', { class: 'lead' }, 'Nothing else was likely there.'),
    Object.entries(found.hangsOn).map(([what, told]) => hangsOn(what, told))].flat(2);
  }

  around(at) {
    const found = content.alerts.around[at];
    if (!found) {
      const command = `longwatch explain ${this.columns.id[at]}`;
      return [h('p', { class: 'lead' }, 'The other events of this alert were left out to keep the file small: ', h('code', {}, command))];
    }
    const [before, after] = found.skipped;
    const cut = before + after ? ` (${number(before)} earlier and ${number(after)} later ones left out)` : '';
    return [h('h4', {}, 'Surprise of each event'), h('p', { class: 'lead' }, `${found.surprise.length} events${cut}, ` +
      `in the order they came; the one that stands out most is marked.`), this.strip(found), this.events(found)];
  }

  strip(found) {
    const highest = Math.max(1, ...found.surprise);
    const draw = (picture, area) => {
      const y = linear(0, highest * 1.05, area.bottom, area.top);
      leftAxis(picture, area, y, ticks(0, highest, 3));
      const width = (area.right - area.left) / found.surprise.length;
      found.surprise.forEach((value, place) => {
        const x = area.left + place * width;
        const mark = place === found.place ? 'bar-top' : found.evidence[place] ? 'bar-flag' : 'bar-plain';
        const height = Math.max(1, area.bottom - y(value));
        picture.append(s('rect', { class: mark, x, y: area.bottom - height, width: Math.max(1, width - 1), height },
          s('title', {}, `${this.words[found.template[place]]}: ${value} nats`)));
      });
    };
    const name = this.words[found.template[found.place]];
    const label = `Surprise of ${found.surprise.length} events; the one that stands out is number ${found.place + 1}, ` +
      `${found.surprise[found.place]} nats: ${name}`;
    return h('div', {}, legend([['bar-top', 'stands out most'], ['bar-flag', 'has evidence'], ['bar-plain', 'other']]),
      chart(label, 150, draw));
  }

  events(found) {
    const first = Math.max(0, found.place - IN_TABLE);
    const last = Math.min(found.surprise.length, found.place + IN_TABLE + 1);
    const body = [];
    for (let place = first; place < last; place += 1) {
      const mark = place === found.place ? 'chosen-row' : '';
      const evidence = content.evidence.filter((_, bit) => found.evidence[place] & (1 << bit))
        .map((name) => name.replace('_', ' ')).join(', ');
      body.push(h('tr', { class: mark }, h('td', {}, clock(found.start + found.time[place], 23).slice(11)),
        h('td', { class: 'figure' }, found.surprise[place].toFixed(2)), h('td', {}, h('code', {}, this.words[found.template[place]])),
        h('td', {}, evidence)));
    }
    const head = ['time', 'surprise', 'template', 'evidence'].map((text) => h('th', { scope: 'col' }, text));
    return scroller('Events around it', h('table', { class: 'events' }, h('caption', {}, 'Events around it'),
      h('thead', {}, h('tr', {}, head)), h('tbody', {}, body)));
  }
}

// Events of one template and evidence, as one: five times the same line says no more than once.
function alike(events) {
  const groups = new Map();
  for (const event of events) {
    const key = `${event[2]} ${event[3]}`;
    if (!groups.has(key)) groups.set(key, []);
    groups.get(key).push(event);
  }
  return [...groups.values()];
}

function hangsOn(what, { named, score, without }) {
  const causes = named.map(([rows, text, drop]) => h('li', {}, h('b', {}, `−${drop}`),
    ` ${plural(Math.abs(rows), 'event', 'events')} ${rows < 0 ? 'earlier' : 'later'} `, h('code', {}, text)));
  const title = what === 'line' ? 'The line that stands out hangs on' : 'The score of the window hangs on';
  const lead = named.length
    ? `Without these events it scores ${without} instead of ${score}: measured by taking them away.`
    : 'No other event: taking any of those near it away does not lower its score.';
  return [h('h4', {}, title), h('p', { class: 'lead' }, lead), h('ul', { class: 'shares' }, causes)];
}
