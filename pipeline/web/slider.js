// What another threshold would raise, before it is applied: on normal data, and on the scores seen since the start.

class ThresholdSlider {
  constructor() {
    this.told = content.thresholds;
    this.seen = { step: this.told.step, spanMs: 0, counts: [] };
    this.picked = h('select', { id: 'threshold-of', onchange: () => this.choose() },
      this.told.inForce.map(({ rule, kind }, at) => h('option', { value: at }, `rule ${rule}, ${kind} score`)));
    this.range = h('input', { type: 'range', id: 'threshold', min: 0, step: 1, oninput: () => this.draw() });
    this.output = h('output', { for: 'threshold' });
    this.facts = h('dl', { class: 'facts', 'aria-live': 'polite' });
    this.code = h('code', {});
    this.picture = s('svg', { role: 'img', height: 220, 'aria-label': 'Alerts a day by threshold' });
    const frame = h('div', { class: 'chart' }, this.picture);
    new ResizeObserver(() => this.plot()).observe(frame);
    this.frame = frame;
    this.element = h('div', {},
      h('div', { class: 'picker' }, h('label', { class: 'field', for: 'threshold-of' }, 'Threshold of', this.picked)),
      h('div', { class: 'picker' }, h('label', { for: 'threshold' }, 'Try another threshold'), this.range, this.output),
      this.facts, frame,
      legend([['curve0', 'normal data of the calibration'], ['curve1', 'windows seen since the start'], ['baseline', 'in force'], ['chosen', 'tried']]),
      h('p', { class: 'meta' }, 'Nothing is changed here. To apply it, write this into the YAML of the pipeline:'),
      h('p', { class: 'event' }, this.code));
    this.choose();
  }

  choose() {
    this.at = this.told.inForce[Number(this.picked.value)];
    const normal = this.told.normalPerDay[this.at.kind];
    const last = normal.findIndex((value) => value < normal[0] / 1e7);
    this.range.max = Math.min(normal.length - 1, Math.max(last > 0 ? last : 0, Math.ceil(this.at.score / this.told.step) + 40));
    this.range.value = Math.round(this.at.score / this.told.step);
    this.draw();
  }

  update(seen) {
    if (!seen.counts) return;
    this.seen = seen;
    this.draw();
  }

  reaching() {
    const found = this.seen.counts.find(({ rule, kind }) => rule === this.at.rule && kind === this.at.kind);
    return found || { windows: 0, reaching: [] };
  }

  perDay(count) {
    return this.seen.spanMs >= 60000 ? (count * 86400000) / this.seen.spanMs : null;
  }

  draw() {
    const step = this.told.step;
    const at = Number(this.range.value);
    const normal = this.told.normalPerDay[this.at.kind];
    const inForce = Math.ceil(this.at.score / step - 1e-9);
    const { windows, reaching } = this.reaching();
    const count = reaching[at] || 0;
    const score = (at * step).toFixed(1);
    this.output.textContent = `score ${score}`;
    this.range.setAttribute('aria-valuetext', `score ${score}: ${this.rate(normal[at])} a day on normal data`);
    const day = this.perDay(count);
    const facts = [
      ['on normal data', `${this.rate(normal[at])} alerts a day expected (in force: ${this.rate(normal[Math.min(inForce, normal.length - 1)])} at ${this.at.score.toFixed(2)})`],
      ['on what was seen', windows
        ? `${plural(count, 'window', 'windows')} of ${number(windows)} would have alerted, ` +
          `${day === null ? 'too short a time for a rate' : `${this.rate(day)} a day`} (in force: about ${number(reaching[inForce] || 0)})`
        : 'nothing of this rule was scored yet'],
      ['seen over', this.seen.spanMs ? `${duration(this.seen.spanMs)} of the log's own time` : '–'],
    ];
    this.facts.replaceChildren(...facts.flatMap(([name, text]) => [h('dt', {}, name), h('dd', {}, text)]));
    const limit = `${this.at.kind}: {score: ${score}}`;
    this.code.textContent = this.at.rule === 'default'
      ? `thresholds: {default: {${limit}}}` : `thresholds: {rules: [{name: ${this.at.rule}, ..., ${limit}}]}`;
    this.plot();
  }

  rate(value) {
    return value >= 0.01 || value === 0 ? number(value, value < 10 ? 2 : 0) : 'under 0.01';
  }

  plot() {
    const width = Math.max(260, this.frame.clientWidth);
    this.picture.setAttribute('width', width);
    this.picture.replaceChildren();
    const area = { left: 56, right: width - 12, top: 12, bottom: 190 };
    const step = this.told.step;
    const max = Number(this.range.max);
    const normal = this.told.normalPerDay[this.at.kind].slice(0, max + 1);
    const seen = this.reaching().reaching.slice(0, max + 1).map((count) => this.perDay(count) || 0);
    const high = Math.max(1, normal[0], seen[0] || 0);
    const low = 0.01;
    const x = linear(0, max * step, area.left, area.right);
    const y = logarithmic(low, high * 1.5, area.bottom, area.top);
    leftAxis(this.picture, area, y, decades(low, high * 1.5), (value) => number(value));
    bottomAxis(this.picture, area, x, ticks(0, max * step, Math.max(2, Math.floor(width / 130))), (value) => number(value));
    const line = (values, shape) => {
      const points = values.map((value, at) => [x(at * step), y(value)]).filter((_, at) => values[at] > low);
      if (points.length) this.picture.append(s('path', { class: `curve ${shape}`, d: path(points) }));
    };
    line(normal, 'curve0');
    line(seen, 'curve1');
    const mark = (score, shape) => this.picture.append(s('line', { class: shape, x1: x(score), x2: x(score), y1: area.top, y2: area.bottom }));
    mark(this.at.score, 'baseline');
    const at = Number(this.range.value);
    mark(at * step, 'tried');
    const height = Math.max(normal[at] || 0, low);
    this.picture.append(s('path', { class: 'chosen', d: `M${x(at * step)} ${y(height) - 7}l7 7l-7 7l-7 -7z` }));
    this.picture.setAttribute('aria-label', `Alerts a day by threshold: ${this.rate(normal[at] || 0)} on normal data at score ${(at * step).toFixed(1)}`);
  }
}
