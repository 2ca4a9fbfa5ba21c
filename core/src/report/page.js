// Draws the charts of a report with Chart.js; charts.h describes their data.
'use strict';
(() => {
  const AXES = {
    round: 'Rounds',
    samples: 'Samples',
    seconds: 'Training seconds',
    virtual_seconds: 'Virtual seconds',
  };
  const COLORS = 8;
  // More points than this run together into a line by themselves.
  const MAX_DOTS = 40;

  const specs = JSON.parse(document.getElementById('data').textContent);
  const dark = window.matchMedia('(prefers-color-scheme: dark)');
  const drawn = [];
  let axis = 'round';
  let printing = false;

  function color(name) {
    const source = printing ? document.getElementById('paper')
                            : document.documentElement;
    return getComputedStyle(source).getPropertyValue('--' + name).trim();
  }

  const seriesColor = series => color('s' + series.color % COLORS);

  function bytes(value) {
    const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB'];
    let i = 0;
    for (; value >= 1024 && i + 1 < units.length; ++i) value /= 1024;
    return `${Number(value.toPrecision(3))} ${units[i]}`;
  }

  function number(value) {
    const size = Math.abs(value);
    if (size >= 1e9) return `${Number((value / 1e9).toPrecision(4))} G`;
    if (size >= 1e6) return `${Number((value / 1e6).toPrecision(4))} M`;
    if (size >= 1e4) return `${Number((value / 1e3).toPrecision(4))} k`;
    if (size > 0 && size < 1e-3) return value.toExponential(2);
    return String(Number(value.toPrecision(4)));
  }

  const formatter = spec => spec.unit === 'bytes' ? bytes : number;

  // The column that a chart's points are drawn over.
  const columnOf = spec => spec.kind === 'area' ? 'x'
                         : spec.switchable ? axis : 'round';

  function points(spec, series) {
    const x = series.points[columnOf(spec)];
    return series.points.value.map((y, i) => ({x: x[i], y}));
  }

  function lineDataset(spec, series, index) {
    const stroke = seriesColor(series);
    const dataset = {
      label: series.name,
      hidden: series.hidden,
      data: points(spec, series),
      borderColor: stroke,
      backgroundColor: stroke,
      borderWidth: 2,
      borderJoinStyle: 'round',
      borderDash: series.color < COLORS ? [] : [6, 4],
      pointRadius: spec.kind === 'line' &&
          series.points.value.length <= MAX_DOTS ? 2.5 : 0,
      pointHitRadius: 6,
    };
    if (spec.kind === 'area') {
      dataset.fill = 'origin';
      dataset.backgroundColor = stroke + '33';
    }
    if (spec.kind === 'band' && index !== 1) {
      dataset.borderWidth = 1;
      dataset.borderColor = stroke + '99';
      if (index === 0) {
        dataset.fill = 2;
        dataset.backgroundColor = stroke + '2e';
      }
    }
    return dataset;
  }

  function barDataset(spec, series) {
    return {
      label: series.name,
      data: series.values,
      backgroundColor: seriesColor(series),
      borderRadius: 3,
      maxBarThickness: 22,
    };
  }

  // The edges of a series' band, the upper one filled down to the lower one.
  function bandDatasets(spec, series, index) {
    const x = series.points[columnOf(spec)];
    const edge = values => ({
      data: values.map((y, i) => ({x: x[i], y})),
      hidden: series.hidden,
      bandOf: index,
      borderWidth: 0,
      pointRadius: 0,
      pointHitRadius: 0,
    });
    return [edge(series.points.low), {
      ...edge(series.points.high),
      fill: '-1',
      backgroundColor: seriesColor(series) + '2e',
    }];
  }

  // Those of the series come first, in their order.
  function datasets(spec) {
    if (spec.kind === 'bars') {
      return spec.series.map(series => barDataset(spec, series));
    }
    return [
      ...spec.series.map((series, i) => lineDataset(spec, series, i)),
      ...spec.series.flatMap((series, i) =>
          series.points.low ? bandDatasets(spec, series, i) : []),
    ];
  }

  function extent(spec) {
    const column = columnOf(spec);
    let low = Infinity, high = -Infinity;
    for (const series of spec.series) {
      for (const x of series.points[column]) {
        low = Math.min(low, x);
        high = Math.max(high, x);
      }
    }
    return low < high ? {min: low, max: high} : {};
  }

  function axisTitle(spec) {
    return spec.x ?? AXES[columnOf(spec)].toLowerCase();
  }

  function scales(spec) {
    const ticks = {color: color('muted'), maxRotation: 0};
    const title = text => ({display: true, text, color: color('muted')});
    const lines = {color: color('grid'), borderColor: color('grid')};
    if (spec.kind === 'bars') {
      return {
        x: {
          beginAtZero: true,
          grace: '5%',
          grid: lines,
          ticks: {...ticks, maxTicksLimit: 5, callback: formatter(spec)},
        },
        y: {grid: {display: false}, ticks: {color: color('text')}},
      };
    }
    return {
      x: {
        type: spec.logarithmic ? 'logarithmic' : 'linear',
        ...extent(spec),
        title: title(axisTitle(spec)),
        grid: {...lines, drawOnChartArea: false},
        ticks: {
          ...ticks,
          includeBounds: false,
          maxTicksLimit: 8,
          precision: columnOf(spec) === 'round' ? 0 : undefined,
          callback: number,
        },
      },
      y: {
        beginAtZero: spec.kind === 'area' || spec.id === 'time',
        grace: spec.kind === 'area' ? '5%' : 0,
        title: title(spec.y),
        grid: lines,
        ticks: {...ticks, maxTicksLimit: 7, callback: number},
      },
    };
  }

  // The level that a curve is read against is drawn where it lies within what
  // the curve spans, and does not stretch the axis.
  const marks = spec => ({
    id: 'marks',
    beforeDatasetsDraw(chart) {
      const {ctx, chartArea: area, scales: {x, y}} = chart;
      ctx.save();
      ctx.fillStyle = color('critical');
      for (const [first, last] of spec.critical || []) {
        const left = Math.max(area.left, x.getPixelForValue(first - 0.5));
        const right = Math.min(area.right, x.getPixelForValue(last + 0.5));
        ctx.fillRect(left, area.top, Math.max(right - left, 0.5),
                     area.bottom - area.top);
      }
      if (spec.level) {
        const height = y.getPixelForValue(spec.level.value);
        if (height >= area.top && height <= area.bottom) {
          ctx.strokeStyle = color('muted');
          ctx.setLineDash([5, 4]);
          ctx.beginPath();
          ctx.moveTo(area.left, height);
          ctx.lineTo(area.right, height);
          ctx.stroke();
        }
      }
      ctx.restore();
    },
  });

  function tooltip(spec) {
    const format = formatter(spec);
    const value = item => spec.kind === 'bars' ? item.parsed.x : item.parsed.y;
    const callbacks = {
      label: item => ` ${item.dataset.label}: ${format(value(item))}`,
    };
    if (spec.kind !== 'bars') {
      callbacks.title = items => items.length === 0 ? '' :
          `${axisTitle(spec)}: ${number(items[0].parsed.x)}`;
    }
    return {
      callbacks,
      filter: item => item.dataset.bandOf === undefined,
      backgroundColor: color('card'),
      titleColor: color('text'),
      bodyColor: color('text'),
      borderColor: color('grid'),
      borderWidth: 1,
    };
  }

  function options(spec) {
    return {
      animation: false,
      responsive: true,
      maintainAspectRatio: false,
      parsing: spec.kind === 'bars' ? undefined : false,
      normalized: spec.kind !== 'bars',
      indexAxis: spec.kind === 'bars' ? 'y' : 'x',
      interaction: spec.kind === 'bars'
          ? {mode: 'nearest', axis: 'y', intersect: false}
          : {mode: 'nearest', axis: 'x', intersect: false},
      font: {family: 'system-ui, sans-serif'},
      scales: scales(spec),
      plugins: {legend: {display: false}, tooltip: tooltip(spec)},
    };
  }

  function element(name, className, ...children) {
    const made = document.createElement(name);
    if (className) made.className = className;
    made.append(...children);
    return made;
  }

  function legendEntry(chart, series, index) {
    const entry = element('button', '',
        element('i', `swatch s${series.color % COLORS}`), series.name);
    entry.type = 'button';
    entry.setAttribute('aria-pressed', 'true');
    if (chart.spec.kind === 'line') {
      entry.append(' ', element('b', '', number(series.points.value.at(-1))));
    }
    entry.addEventListener('click', () => {
      const show = !chart.isDatasetVisible(index);
      entry.setAttribute('aria-pressed', String(show));
      series.hidden = !show;
      chart.data.datasets.forEach((dataset, i) => {
        if (i === index || dataset.bandOf === index) {
          chart.setDatasetVisibility(i, show);
        }
      });
      chart.update();
    });
    return entry;
  }

  function fillLegend(box, chart) {
    const spec = chart.spec;
    if (spec.kind !== 'bars') {
      box.append(...spec.series.map((series, i) =>
          legendEntry(chart, series, i)));
    }
    if (spec.critical) {
      box.append(element('span', '', element('i', 'swatch shade'),
                         'critical phase'));
    }
    if (spec.level) {
      box.append(element('span', '', element('i', 'swatch level'),
                         spec.level.name, ' ', number(spec.level.value)));
    }
  }

  function draw(spec) {
    const canvas = document.createElement('canvas');
    canvas.setAttribute('role', 'img');
    canvas.setAttribute('aria-label', spec.title);
    const legend = element('div', 'legend');
    const section = element('section', '', element('h2', '', spec.title),
                            legend, element('div', 'plot', canvas));
    section.id = `chart-${spec.id}`;
    document.getElementById('charts').append(section);
    const chart = new Chart(canvas, {
      type: spec.kind === 'bars' ? 'bar' : 'line',
      data: {
        labels: spec.kind === 'bars'
            ? spec.labels.map((label, i) =>
                `${label}, ${formatter(spec)(spec.series[0].values[i])}`)
            : undefined,
        datasets: datasets(spec),
      },
      options: options(spec),
      plugins: [marks(spec)],
    });
    chart.spec = spec;
    fillLegend(legend, chart);
    drawn.push(chart);
  }

  function redraw() {
    for (const chart of drawn) {
      chart.data.datasets = datasets(chart.spec);
      chart.options = options(chart.spec);
      chart.update();
    }
  }

  // Offers the axes that all of the charts concerned can be drawn over.
  function offerAxes() {
    const switchable = specs.filter(spec => spec.switchable);
    const offered = Object.keys(AXES).filter(name =>
        switchable.every(spec =>
            spec.series.every(series => name in series.points)));
    if (switchable.length === 0) return;
    const box = document.getElementById('axis');
    for (const name of offered) {
      const input = document.createElement('input');
      input.type = 'radio';
      input.name = 'axis';
      input.checked = name === axis;
      input.addEventListener('change', () => {
        axis = name;
        redraw();
      });
      box.append(element('label', '', input, ' ', AXES[name].toLowerCase()));
    }
    box.hidden = false;
  }

  specs.forEach(draw);
  offerAxes();
  document.getElementById('empty').hidden = specs.length > 0;

  dark.addEventListener('change', redraw);
  for (const event of ['beforeprint', 'afterprint']) {
    window.addEventListener(event, () => {
      printing = event === 'beforeprint';
      redraw();
      drawn.forEach(chart => chart.resize());
    });
  }
})();
