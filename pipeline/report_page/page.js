// Puts the sections together.

const panel = new AlertPanel();
const list = new AlertList(panel);
panel.list = list;

document.getElementById('page').append(
  headline(),
  h('main', {},
    timelineSection(list),
    section('alerts', 'Alerts', 'Arrow keys move, Enter opens.', content.alerts.count ? h('div', { class: 'split' }, list.element, panel.element) : panel.element),
    tradeoffSection(), heatSection(list), driftSection(), provenanceSection()));
if (content.alerts.count) panel.show(list.shown[0], false);
