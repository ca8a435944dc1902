// False alarms: silence the pattern of an alert, see what is silent, take it back.

const DURATIONS = [['1h', 'one hour'], ['12h', 'half a day'], ['1d', 'one day'], ['7d', 'a week'], ['30d', '30 days']];

class Marks {
  constructor() {
    this.rows = h('tbody', {});
    this.told = h('p', { class: 'meta', role: 'status' });
    this.shown = null;
  }

  section() {
    if (!content.feedback) {
      return section('marks', 'Silenced', 'To silence false alarms from here, write ', h('code', {}, 'feedback: {}'), ' into the YAML of the pipeline.');
    }
    const heads = ['what', 'entities', 'until (event time)', 'carried by nothing but', 'why', ''];
    const head = h('tr', {}, heads.map((text) => (text ? h('th', { scope: 'col' }, text) : h('td', {}))));
    const whole = h('table', { class: 'marks' }, h('caption', {}, 'Marks that this worker heeds'), h('thead', {}, head), this.rows);
    return section('marks', 'Silenced', 'Patterns that were marked as false alarms. Their messages go to an output of their own.',
      scroller('Silenced patterns', whole), this.told);
  }

  update(marks) {
    const now = JSON.stringify(marks);
    if (now === this.shown) return;
    this.shown = now;
    this.ids = new Set(marks.map(({ id }) => id));
    if (this.awaited && this.ids.has(this.awaited)) this.heeded();
    const focused = document.activeElement && document.activeElement.dataset ? document.activeElement.dataset.mark : undefined;
    this.rows.replaceChildren(...marks.map((mark) => this.row(mark)));
    const again = focused && this.rows.querySelector(`[data-mark="${focused}"]`);
    if (again) again.focus();
    if (!marks.length) this.rows.replaceChildren(h('tr', {}, h('td', { colspan: '6' }, 'Nothing is marked.')));
  }

  row({ id, what, entities, untilMs, templates, reason, by }) {
    const back = h('button', { type: 'button', 'data-mark': id, 'aria-label': `Take back: ${what} for ${entities.join(', ')}`, onclick: () => this.withdraw(id, back) }, 'Take back');
    return h('tr', {}, h('td', {}, what), h('td', {}, entities.join(', ')), h('td', {}, untilMs > 253402300798000 ? 'for ever' : clock(untilMs, 16)),
      h('td', {}, templates.map((text) => h('div', {}, h('code', {}, text)))), h('td', {}, [reason, by && `by ${by}`].filter(Boolean).join(', ')), h('td', {}, back));
  }

  form(alert) {
    const lasts = h('select', { id: 'mark-for' }, DURATIONS.map(([value, text]) => h('option', { value, selected: value === '7d' }, text)));
    const entities = h('input', { type: 'text', id: 'mark-entities', placeholder: alert.entity, 'aria-describedby': 'mark-help', autocomplete: 'off' });
    const reason = h('input', { type: 'text', id: 'mark-reason', maxlength: '500', autocomplete: 'off' });
    const said = h('p', { class: 'meta', role: 'status', id: 'mark-said' });
    const field = (label, control) => h('label', { class: 'field', for: control.id }, h('span', {}, label), control);
    const send = h('button', { type: 'submit' }, 'Silence this pattern');
    const form = h('form', { class: 'mark', 'aria-label': 'Mark as a false alarm', onsubmit: (event) => {
      event.preventDefault();
      const globs = entities.value.split(',').map((text) => text.trim()).filter(Boolean);
      this.post({ alert_id: alert.alert_id, duration: lasts.value, entities: globs, reason: reason.value }, said, send);
    } },
    h('h4', {}, 'A false alarm?'),
    h('p', { class: 'meta', id: 'mark-help' }, `Silences ${alert.kind} alerts of rule ${alert.rule} that nothing carries but what carries this one. ` +
      'Entities may be globs with commas between; left empty, it is this entity alone.'),
    h('div', { class: 'filters' }, field('For', lasts), field('Entities', entities), field('Why', reason)), send, said);
    return form;
  }

  async ask(address, body) {
    try {
      const answer = await fetch(address, { method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify(body) });
      return answer.headers.get('content-type') === 'application/json' ? await answer.json() : { error: await answer.text() };
    } catch {
      return { error: 'the worker does not answer' };
    }
  }

  async post(body, said, send) {
    send.disabled = true;
    said.textContent = 'Writing the mark.';
    const { markId, error } = await this.ask('marks', body);
    send.disabled = false;
    if (error) {
      said.textContent = error;
      return;
    }
    this.awaited = markId;
    this.saidOf = said;
    said.textContent = 'Written; waiting for the worker.';
    if (this.ids && this.ids.has(markId)) this.heeded();
  }

  heeded() {
    this.saidOf.textContent = 'Silent from here on. It is listed below, where it can be taken back.';
    this.awaited = null;
  }

  async withdraw(id, button) {
    button.disabled = true;
    const { error } = await this.ask(`marks/${encodeURIComponent(id)}/withdrawal`, {});
    this.told.textContent = error || 'Taken back: the pattern is raised again.';
    if (error) button.disabled = false;
  }
}
