// One alert opened: what stands out, what usually comes instead, and what can be done about it.

class OpenedAlert {
  constructor() {
    this.actions = h('div', {});
    this.element = h('article', { class: 'panel', 'aria-label': 'Alert' }, h('p', { class: 'lead' }, 'Choose an alert to see its events.'));
    this.revision = null;
  }

  show(row, focus) {
    const { alert } = row;
    this.revision = `${alert.alert_id}/${alert.revision}`;
    this.title = h('h3', { tabindex: '-1', id: 'alert-title' }, alert.entity);
    this.body = h('div', {});
    const actions = this.forAlert ? this.forAlert(row) : null;
    this.element.replaceChildren(
      h('div', { class: 'bar' }, this.button('Back to the list', () => this.feed.back()),
        this.button('Previous', () => this.feed.step(-1)), this.button('Next', () => this.feed.step(1))),
      this.title, this.body, actions || '');
    this.fill(row);
    if (focus) this.title.focus({ preventScroll: false });
  }

  // A newer revision is filled in below the title: the focus stays where it is.
  renew(row) {
    const { alert } = row;
    if (this.revision === `${alert.alert_id}/${alert.revision}`) return;
    this.revision = `${alert.alert_id}/${alert.revision}`;
    this.fill(row);
  }

  fill({ alert, silenced }) {
    const { source, window } = alert;
    const facts = [
      ['score', `${alert.score} (threshold ${number(alert.threshold.value, 4)})`],
      ['rule', `${alert.rule}, ${alert.kind} score`],
      ['window', `${number(window.num_events)} events, ${plain(window.start_time)} to ${plain(window.end_time)} UTC`],
      ['caused by', `${source.topic} [${source.partition}] offset ${source.trigger_offset}`],
      ['closed by', window.closed_by || 'still open'],
      ['id', `${alert.alert_id}, revision ${alert.revision}`],
    ];
    if (alert.partial) facts.push(['partial', 'its window began before the first record that retention has left']);
    if (alert.suppressed_by) facts.push(['silenced by', alert.suppressed_by]);
    const state = silenced ? 'silenced' : STATES[alert.lifecycle];
    this.body.replaceChildren(
      h('span', { class: `tag ${silenced ? 'silenced' : alert.lifecycle}` }, state),
      h('dl', { class: 'facts' }, facts.flatMap(([name, text]) => [h('dt', {}, name), h('dd', {}, text)])),
      h('h4', {}, alert.top_events.length ? 'What stands out' : 'Its events are not in the alert (alerts.top_events: 0)'),
      h('ol', { class: 'tops' }, alike(alert.top_events).map((events) => this.top(events[0], events.length))));
  }

  button(text, onclick) {
    return h('button', { type: 'button', onclick }, text);
  }

  top(event, times) {
    const reasons = event.evidence.map((name) => h('li', {}, content.meaning[name] || name));
    const missing = event.offset === null ? h('p', {}, 'The window ended here: something that usually follows did not come.') : null;
    const more = times > 1 ? h('p', {}, `and ${number(times - 1)} more of the same kind among the highest`) : null;
    return h('li', {}, h('p', { class: 'event' }, h('code', {}, event.line || event.template)), missing,
      h('p', { class: 'meta' }, `score ${event.score}, surprise ${event.surprise} nats, ${plain(event.event_time)}` +
        (event.offset === null ? '' : `, offset ${event.offset}`)),
      reasons.length ? h('ul', { class: 'reasons' }, reasons) : null, event.expected ? this.usual(event.expected) : null, more);
  }

  usual({ after, times, instead }) {
    const shares = instead.map(({ template, share }) => h('li', {}, h('b', {}, percent(share)), ' ', h('code', {}, template)));
    return h('div', {}, h('p', { class: 'meta' }, `In training this came ${number(times)} times before something else: `,
      h('code', {}, after)), h('p', { class: 'meta' }, 'It was followed by'), h('ul', { class: 'shares' }, shares));
  }
}

const plain = (time) => time.replace('T', ' ').replace('Z', '');

// Events of one template and evidence, as one: five times the same line says no more than once.
function alike(events) {
  const groups = new Map();
  for (const event of events) {
    const key = `${event.template_id} ${event.evidence}`;
    if (!groups.has(key)) groups.set(key, []);
    groups.get(key).push(event);
  }
  return [...groups.values()];
}
