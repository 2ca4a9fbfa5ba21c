// The page that RenderReport fills in: style, and a script that draws the
// curves as SVG. It loads nothing, so that it works offline and for ever.

#ifndef FEDLB_SRC_REPORT_PAGE_H_
#define FEDLB_SRC_REPORT_PAGE_H_

namespace fedlb {

// Up to the title.
inline constexpr char kReportHead[] = R"html(<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none';
 style-src 'unsafe-inline'; script-src 'unsafe-inline'">
<style>
:root { color-scheme: light dark; --page: #f7f7f5; --card: #fff;
  --text: #1c1c1a; --muted: #6a6a64; --grid: #e4e4df; --critical: #f2e6c8;
  --s0: #2563b8; --s1: #d1601f; --s2: #1b8a5f;
  --s3: #8a4fb5; }
@media (prefers-color-scheme: dark) {
  :root { --page: #17181a; --card: #202224; --text: #ececea; --muted: #a0a09a;
    --grid: #36383b; --critical: #3d3520;
    --s0: #6ea8f7; --s1: #f0935a; --s2: #55c596; --s3: #c192ea; } }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 1180px; padding: 24px 16px 48px;
  background: var(--page); color: var(--text);
  font: 15px/1.5 system-ui, sans-serif; }
h1 { font-size: 24px; margin: 0 0 16px; overflow-wrap: anywhere; }
h2 { font-size: 15px; margin: 0 0 4px; }
.charts { display: grid; gap: 16px; margin-bottom: 16px;
  grid-template-columns: repeat(auto-fit, minmax(min(460px, 100%), 1fr)); }
section, details { background: var(--card); border: 1px solid var(--grid);
  border-radius: 8px; padding: 12px 16px; }
details { margin-top: 16px; }
summary { cursor: pointer; font-weight: 600; }
pre { overflow-x: auto; font-size: 13px; }
table { border-collapse: collapse; width: min(520px, 100%); }
td { border-top: 1px solid var(--grid); padding: 4px 8px 4px 0; }
tr:first-child td { border-top: 0; }
td:last-child { text-align: right; font-variant-numeric: tabular-nums; }
.legend { color: var(--muted); font-size: 13px; min-height: 20px; }
.legend span { margin-right: 14px; white-space: nowrap; }
.legend b { color: var(--text); font-weight: 600;
  font-variant-numeric: tabular-nums; }
.legend i { display: inline-block; width: 14px; height: 3px; margin-right: 5px;
  vertical-align: middle; border-radius: 2px; }
svg { display: block; width: 100%; height: auto; }
svg text { fill: var(--muted); font-size: 12px; }
</style>
<title>)html";

inline constexpr char kReportScript[] = R"html(<script>
'use strict';
const charts = JSON.parse(document.getElementById('data').textContent);
const W = 560, H = 260, L = 58, R = 14, T = 10, B = 36;

function node(name, attributes, text) {
  const e = document.createElementNS('http://www.w3.org/2000/svg', name);
  for (const key in attributes) e.setAttribute(key, attributes[key]);
  if (text !== undefined) e.textContent = text;
  return e;
}

function format(v) {
  const a = Math.abs(v);
  if (a !== 0 && (a < 1e-3 || a >= 1e5)) return v.toExponential(2);
  return String(Number(v.toPrecision(4)));
}

// Round numbers that cover [low, high].
function ticks(low, high, count, whole) {
  if (low === high) { low -= Math.abs(low) / 2 || 0.5; high += high - low; }
  const raw = (high - low) / count;
  const power = 10 ** Math.floor(Math.log10(raw));
  let step = power * [1, 2, 5, 10].find(f => f * power >= raw * 0.999);
  if (whole) step = Math.max(1, Math.round(step));
  const first = Math.floor(low / step), last = Math.ceil(high / step);
  return Array.from({length: last - first + 1}, (_, i) => (first + i) * step);
}

function legend(chart, box, round) {
  box.replaceChildren();
  chart.series.forEach((series, i) => {
    const item = document.createElement('span');
    const mark = document.createElement('i');
    mark.style.background = `var(--s${i})`;
    item.append(mark, series.name);
    const point = round === undefined ? series.points.at(-1)
                                      : series.points.find(p => p[0] === round);
    const value = document.createElement('b');
    value.textContent = point ? ' ' + format(point[1]) : '';
    item.append(value);
    box.append(item);
  });
  if (round !== undefined) box.append(`round ${round}`);
  else if (chart.critical.length) box.append('shaded: critical phase');
}

function draw(chart) {
  const section = document.createElement('section');
  const title = document.createElement('h2');
  title.textContent = chart.title;
  const box = document.createElement('div');
  box.className = 'legend';
  const svg = node('svg', {viewBox: `0 0 ${W} ${H}`, role: 'img',
                           'aria-label': chart.title});
  section.append(title, box, svg);
  document.getElementById('charts').append(section);

  const all = chart.series.flatMap(s => s.points);
  const fold = (f, k) => all.reduce((m, p) => f(m, p[k]), all[0][k]);
  const xLow = fold(Math.min, 0), xHigh = fold(Math.max, 0);
  const yTicks = ticks(fold(Math.min, 1), fold(Math.max, 1), 5, false);
  const yLow = yTicks[0], yHigh = yTicks.at(-1);
  const x = v => L + (W - L - R) * (xHigh > xLow ? (v - xLow) / (xHigh - xLow)
                                                 : 0.5);
  const y = v => H - B - (H - T - B) * (v - yLow) / (yHigh - yLow);

  const half = xHigh > xLow ? (x(xLow + 1) - x(xLow)) / 2 : 6;
  const spans = [];
  for (const round of chart.critical) {
    const last = spans.at(-1);
    if (last && last[1] === round - 1) last[1] = round;
    else spans.push([round, round]);
  }
  for (const [first, last] of spans) {
    const from = Math.max(L, x(first) - half);
    svg.append(node('rect', {x: from, y: T, height: H - T - B,
        width: Math.min(W - R, x(last) + half) - from,
        fill: 'var(--critical)'}));
  }
  for (const v of yTicks) {
    svg.append(node('line', {x1: L, x2: W - R, y1: y(v), y2: y(v),
                             stroke: 'var(--grid)'}));
    svg.append(node('text', {x: L - 8, y: y(v) + 4, 'text-anchor': 'end'},
                    format(v)));
  }
  for (const v of ticks(xLow, xHigh, 6, true)) {
    if (v < xLow || v > xHigh) continue;
    svg.append(node('line', {x1: x(v), x2: x(v), y1: H - B, y2: H - B + 4,
                             stroke: 'var(--muted)'}));
    svg.append(node('text', {x: x(v), y: H - B + 17, 'text-anchor': 'middle'},
                    format(v)));
  }
  svg.append(node('line', {x1: L, x2: W - R, y1: H - B, y2: H - B,
                           stroke: 'var(--muted)'}));
  svg.append(node('text', {x: (L + W - R) / 2, y: H - 3,
                           'text-anchor': 'middle'}, 'round'));
  chart.series.forEach((series, i) => {
    const color = `var(--s${i})`;
    const path = series.points.map(p => `${x(p[0]).toFixed(1)},` +
                                        `${y(p[1]).toFixed(1)}`).join(' ');
    svg.append(node('polyline', {points: path, fill: 'none', stroke: color,
        'stroke-width': 2, 'stroke-linejoin': 'round'}));
    if (series.points.length <= 40) {
      for (const p of series.points) {
        svg.append(node('circle', {cx: x(p[0]), cy: y(p[1]), r: 2.5,
                                   fill: color}));
      }
    }
  });

  const cursor = node('g', {});
  svg.append(cursor);
  const rounds = [...new Set(all.map(p => p[0]))];
  svg.addEventListener('pointermove', event => {
    const place = (event.clientX - svg.getBoundingClientRect().left) *
                  W / svg.getBoundingClientRect().width;
    const round = rounds.reduce((best, r) =>
        Math.abs(x(r) - place) < Math.abs(x(best) - place) ? r : best);
    cursor.replaceChildren(node('line', {x1: x(round), x2: x(round), y1: T,
        y2: H - B, stroke: 'var(--muted)', 'stroke-dasharray': '3 3'}));
    chart.series.forEach((series, i) => {
      const p = series.points.find(q => q[0] === round);
      if (p) cursor.append(node('circle', {cx: x(p[0]), cy: y(p[1]), r: 4.5,
          fill: `var(--s${i})`, stroke: 'var(--card)', 'stroke-width': 2}));
    });
    legend(chart, box, round);
  });
  svg.addEventListener('pointerleave', () => {
    cursor.replaceChildren();
    legend(chart, box);
  });
  legend(chart, box);
}

charts.forEach(draw);
</script>
)html";

}  // namespace fedlb

#endif  // FEDLB_SRC_REPORT_PAGE_H_
