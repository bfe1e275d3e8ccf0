// Results, distributions, curves and the map: sections that are drawn from the light data.
function drawResults(results) {
  for (const node of document.querySelectorAll("[data-scores]")) node.append(intervals(results[node.dataset.scores]));
}

// Buttons that show and hide a series; `redraw` is given the names that are shown.
function legend(node, names, hue, redraw) {
  const shown = new Set(names);
  node.append(...names.map((name) => {
    const button = el("button", { "aria-pressed": "true", onclick: () => {
      if (shown.has(name) && shown.size > 1) shown.delete(name); else shown.add(name);
      button.setAttribute("aria-pressed", String(shown.has(name)));
      redraw(shown);
    } }, [swatch(hue(name)), visible(name)]);
    return button;
  }));
  redraw(shown);
}

function drawDistributions(charts) {
  const all = charts.flatMap((chart) => chart.series);
  const whole = new Set(all.filter((s) => s.whole).map((s) => s.name));
  const taken = [...new Set(all.map((s) => s.name))].filter((name) => !whole.has(name));
  const names = [...whole, ...taken];
  const hue = (name) => (whole.has(name) ? 8 : taken.indexOf(name) % 8);
  legend(byId("series"), names, hue, (shown) => {
    byId("charts").replaceChildren(...charts.map((chart) => {
      const series = chart.series.filter((s) => shown.has(s.name) && s.rows);
      if (!series.length) return null;
      return (chart.kind === "bars" ? bars : histogram)({ ...chart, series }, hue);
    }).filter(Boolean));
  });
}

// What is looked at first of a training; the rest as it was logged.
const FIRST = ["loss", "rewards/margins", "rewards/accuracies", "learning_rate", "grad_norm", "tokens_per_second", "mfu"];

function drawCurves(curves) {
  const stages = Object.keys(curves);
  const hue = (stage) => stages.indexOf(stage);
  const all = [...new Set(stages.flatMap((stage) => Object.keys(curves[stage])))];
  const names = [...FIRST.filter((name) => all.includes(name)), ...all.filter((name) => !FIRST.includes(name))];
  const keys = el("div", { class: "key" }, stages.map((stage) => el("span", {}, [swatch(hue(stage)), visible(stage)])));
  byId("curves").before(keys);
  byId("curves").append(...names.map((name) => curve(name, stages.filter((stage) => curves[stage][name]).map((stage) => ({ stage, points: curves[stage][name] })), hue)));
}

function drawMap(map, open) {
  const canvas = byId("map-canvas"), tip = byId("map-tip"), state = { by: "category", set: "-1" };
  const place = () => {
    const width = canvas.clientWidth || 800, height = Math.round(Math.min(620, Math.max(320, width * 0.62)));
    const scale = window.devicePixelRatio || 1;
    canvas.width = width * scale; canvas.height = height * scale;
    canvas.style.height = `${height}px`;
    return { width, height, scale, x: (i) => 12 + (map.x[i] / 1000) * (width - 24), y: (i) => height - 12 - (map.y[i] / 1000) * (height - 24) };
  };
  const inSet = (i) => state.set === "-1" || (map.member[i] >> Number(state.set)) & 1;
  const hue = (i) => (state.by === "category" ? map.category[i] : map.member[i] ? Math.log2(map.member[i] & -map.member[i]) : 8);
  let at = null;
  const draw = () => {
    at = place();
    const pen = canvas.getContext("2d"), style = getComputedStyle(document.documentElement);
    const paint = [...Array(12).keys()].map((n) => style.getPropertyValue(`--s${n}`).trim());
    pen.scale(at.scale, at.scale);
    for (const [alpha, wanted] of [[0.1, false], [0.75, true]]) {
      pen.globalAlpha = alpha;
      map.x.forEach((_, i) => {
        if (Boolean(inSet(i)) !== wanted) return;
        pen.fillStyle = paint[hue(i) % 12];
        pen.beginPath(); pen.arc(at.x(i), at.y(i), 2.6, 0, 7); pen.fill();
      });
    }
    const names = state.by === "category" ? map.categories.map((name, n) => [name, n]) : [...map.sets.map((name, n) => [name, n]), ["in none of them", 8]];
    byId("map-key").replaceChildren(...names.map(([name, n]) => el("span", {}, [swatch(n), visible(name)])));
  };
  const by = choice("Colour by", [["category", "category"], ["set", "data set (the first it is in)"]], (value) => { state.by = value; draw(); });
  const only = choice("Show", [["-1", "all"], ...map.sets.map((name, n) => [String(n), `those in ${name}`])], (value) => { state.set = value; draw(); });
  byId("map-controls").append(by.node, only.node);
  const nearest = (event) => {
    const box = canvas.getBoundingClientRect(), px = event.clientX - box.left, py = event.clientY - box.top;
    let best = -1, distance = 200;
    map.x.forEach((_, i) => {
      const d = (at.x(i) - px) ** 2 + (at.y(i) - py) ** 2;
      if (inSet(i) && d < distance) { best = i; distance = d; }
    });
    return [best, px, py];
  };
  canvas.addEventListener("pointermove", (event) => {
    const [i, px, py] = nearest(event);
    tip.hidden = i < 0;
    if (i < 0) return;
    tip.replaceChildren(el("div", { class: "who", text: map.categories[map.category[i]] }), said(map.text[i]));
    tip.style.left = `${Math.max(0, Math.min(px + 12, at.width - 290))}px`; tip.style.top = `${py + 14}px`;
  });
  canvas.addEventListener("pointerleave", () => { tip.hidden = true; });
  canvas.addEventListener("click", (event) => { const [i] = nearest(event); if (i >= 0) open(map.uuid[i]); });
  window.addEventListener("resize", draw);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
  draw();
}
