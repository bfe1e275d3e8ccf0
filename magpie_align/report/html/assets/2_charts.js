// Charts as SVG: intervals, histograms, bars, curves.
function frame(title, width, height, children) {
  return el("figure", {}, [el("figcaption", { text: title }), svg("svg", { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": title }, children)]);
}

const label = (x, y, text, anchor, soft) => svg("text", { x, y, "text-anchor": anchor || "start", class: soft ? "soft" : null, text });

function ticks(low, high, wanted) {
  const raw = (high - low) / wanted || 1;
  const unit = 10 ** Math.floor(Math.log10(raw));
  const step = unit * [1, 2, 5, 10].find((factor) => factor * unit >= raw);
  const found = [];
  for (let at = Math.ceil(low / step) * step; at <= high + step * 1e-9; at += step) found.push(Math.abs(at) < step * 1e-9 ? 0 : at);
  return found;
}

// One row a model, one panel a task and metric: the value as a dot on its interval.
function intervals(scores) {
  const names = [...new Set(scores.map((s) => s.model))];
  const columns = [...new Set(scores.map((s) => `${s.task} ${s.metric}`))];
  return el("div", { class: "grid" }, columns.map((column) => {
    const found = scores.filter((s) => `${s.task} ${s.metric}` === column);
    // Dots, not bars: the axis need not begin at 0, and is as wide as what it shows.
    const least = Math.min(...found.map((s) => s.low)), most = Math.max(...found.map((s) => s.high)), room = Math.max(0.06 * (most - least), 0.005);
    const low = Math.max(Math.min(0, least), least - room), high = most + room;
    const left = 12 + 6.2 * Math.min(30, Math.max(...names.map((name) => name.length))), width = 400, line = 24, height = names.length * line + 26;
    const x = (value) => left + ((value - low) / (high - low)) * (width - left - 12);
    const grid = ticks(100 * low, 100 * high, 4).map((t) => svg("g", {}, [
      svg("line", { x1: x(t / 100), x2: x(t / 100), y1: 4, y2: height - 20, class: "axis" }), label(x(t / 100), height - 6, short(t), "middle", true)]));
    const rows = names.flatMap((name, row) => {
      const s = found.find((one) => one.model === name);
      const y = row * line + 18;
      const words = fitted(name, 30, y);
      if (!s) return [words];
      return [words, svg("g", {}, [
        svg("title", { text: `${name}: ${(100 * s.value).toFixed(1)} [${(100 * s.low).toFixed(1)}, ${(100 * s.high).toFixed(1)}], n = ${count(s.n)}` }),
        svg("line", { x1: x(s.low), x2: x(s.high), y1: y - 4, y2: y - 4, stroke: color(row), "stroke-width": 3, "stroke-linecap": "round", "stroke-opacity": 0.55 }),
        svg("circle", { cx: x(s.value), cy: y - 4, r: 4.5, fill: color(row) })])];
    });
    return frame(column, width, height, [...grid, ...rows]);
  }));
}

function fitted(name, letters, y) {
  const node = label(0, y, name.length > letters ? `${name.slice(0, letters - 1)}…` : name);
  node.prepend(svg("title", { text: name }));
  return node;
}

// Steps, so that several data sets can lie over each other; each series is a share of its own rows.
function histogram(chart, hue) {
  const width = 380, height = 190, bottom = 26, left = 4;
  const shares = chart.series.map((s) => s.counts.map((n) => (s.rows ? n / s.rows : 0)));
  const top = Math.max(...shares.flat(), 1e-9);
  const bins = chart.series[0].counts.length;
  const x = (bin) => left + (bin / bins) * (width - 2 * left), y = (share) => height - bottom - (share / top) * (height - bottom - 16);
  const at = (value) => x(((value - chart.low) / (chart.high - chart.low)) * bins);
  const grid = ticks(chart.low, chart.high, 5).map((t) => label(at(t), height - 8, short(t), "middle", true));
  const shapes = chart.series.map((s, number) => {
    const path = shares[number].map((share, bin) => `V${y(share).toFixed(1)}H${x(bin + 1).toFixed(1)}`).join("");
    const mean = s.mean === null ? "" : `, mean ${short(s.mean)}`;
    return svg("g", {}, [svg("title", { text: `${s.name}: ${count(s.rows)} rows${mean}` }),
      svg("path", { d: `M${x(0)} ${y(0)}${path}V${y(0)}Z`, fill: color(hue(s.name)), "fill-opacity": 0.13, stroke: color(hue(s.name)), "stroke-width": 1.6 })]);
  });
  const means = chart.series.filter((s) => s.mean !== null).map((s) => svg("line", { x1: at(s.mean), x2: at(s.mean), y1: height - bottom, y2: height - bottom + 6, stroke: color(hue(s.name)), "stroke-width": 2.5 }));
  return frame(chart.title, width, height, [svg("line", { x1: left, x2: width - left, y1: height - bottom, y2: height - bottom, class: "axis" }), label(width - left, 12, `highest bin ${percent(top)}`, "end", true), ...grid, ...shapes, ...means]);
}

function bars(chart, hue) {
  const width = 380, left = 132, thick = chart.series.length > 2 ? 6 : 9, line = chart.series.length * thick + 9;
  const height = chart.labels.length * line + 8;
  const share = (s, row) => (s.rows ? s.counts[row] / s.rows : 0);
  const top = Math.max(...chart.series.flatMap((s) => chart.labels.map((_, row) => share(s, row))), 1e-9);
  const x = (value) => (value / top) * (width - left - 50);
  const rows = chart.labels.flatMap((name, row) => [fitted(name, 21, row * line + line / 2 + 4),
    ...chart.series.map((s, number) => svg("g", {}, [
      svg("title", { text: `${name}, ${s.name}: ${count(s.counts[row])} of ${count(s.rows)} rows, ${percent(share(s, row))}` }),
      svg("rect", { x: left, y: row * line + 4 + number * thick, width: Math.max(x(share(s, row)), 0.5), height: thick - 1.5, rx: 1.5, fill: color(hue(s.name)) })])),
    label(left + x(Math.max(...chart.series.map((s) => share(s, row)))) + 6, row * line + line / 2 + 4, percent(Math.max(...chart.series.map((s) => share(s, row)))), "start", true)]);
  return frame(chart.title, width, height, rows);
}

// One figure of the log of several trainings.
function curve(name, series, hue) {
  const width = 380, height = 200, left = 46, bottom = 24;
  const points = series.flatMap((s) => s.points).filter((p) => Number.isFinite(p[1]));
  const xs = points.map((p) => p[0]), ys = points.map((p) => p[1]);
  const [x0, x1, y0, y1] = [Math.min(...xs), Math.max(...xs), Math.min(...ys), Math.max(...ys)];
  const x = (v) => left + ((v - x0) / (x1 - x0 || 1)) * (width - left - 10), y = (v) => height - bottom - ((v - y0) / (y1 - y0 || 1)) * (height - bottom - 12);
  const grid = [...ticks(x0, x1, 4).map((t) => label(x(t), height - 7, short(t), "middle", true)),
    ...ticks(y0, y1, 4).flatMap((t) => [svg("line", { x1: left, x2: width - 10, y1: y(t), y2: y(t), class: "axis" }), label(left - 5, y(t) + 4, short(t), "end", true)])];
  const lines = series.map((s) => svg("g", {}, [svg("title", { text: `${s.stage}: last ${short(s.points[s.points.length - 1][1])}` }),
    svg("polyline", { points: s.points.filter((p) => Number.isFinite(p[1])).map((p) => `${x(p[0]).toFixed(1)},${y(p[1]).toFixed(1)}`).join(" "), fill: "none", stroke: color(hue(s.stage)), "stroke-width": 1.8 })]));
  return frame(name, width, height, [...grid, ...lines]);
}
