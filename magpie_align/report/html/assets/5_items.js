// Two models on one task: counts over all questions, and a sample of the questions where they differ.
const AT_ONCE = 10;

function startItems(data, open) {
  const { tasks, neighbours } = data, state = { task: 0, metric: null, a: null, b: null, which: "lost", page: 0 };
  const score = (rows, at) => Number(rows[at]);
  const verdicts = {
    lost: ["B right, A not", (a, b) => b > a], won: ["A right, B not", (a, b) => a > b],
    both: ["no difference", (a, b) => a === b],
  };

  function outcome(kind, at) {
    const metric = tasks[state.task].metrics[state.metric];
    return verdicts[kind][1](score(metric[state.a], at), score(metric[state.b], at));
  }

  // Exact binomial test of as many wins against losses, as McNemar's.
  function chance(wins, losses) {
    const n = wins + losses, k = Math.min(wins, losses);
    if (!n) return 1;
    let log = -n * Math.LN2, sum = 0;
    for (let i = 0; i <= k; i++) {
      sum += Math.exp(log);
      log += Math.log(n - i) - Math.log(i + 1);
    }
    return Math.min(1, 2 * sum);
  }

  function near(item, model) {
    const trained = neighbours.sets[neighbours.models[model]];
    const found = trained && trained.near[item.id];
    if (!found || !found.length) return null;
    const searched = trained.searched < trained.of ? ` (of ${count(trained.searched)} searched)` : "";
    return el("div", {}, [el("div", { class: "who", text: `nearest rows in ${neighbours.models[model]}${searched}` }), ...found.map(([uuid, likeness, words]) =>
      el("div", {}, [el("span", { class: "tag", text: likeness.toFixed(2), title: "cosine of weighted n-grams" }), el("button", { class: "link", text: words, onclick: () => open(uuid) })]))]);
  }

  // What a judge wrote on an answer: a rating of it alone, or a verdict on it beside another's.
  function judged([part, seat, value, words, failure]) {
    const whose = seat ? `the judge on game ${part}, this model in seat ${seat}` : `the judge on turn ${part}`;
    const verdict = value === null ? failure : seat ? `${short(seat === "A" ? value : 1 - value)} of a win` : `${short(value)} of 10`;
    return el("details", { class: "judge" }, [el("summary", {}, [visible(`${whose}: `), el("b", { class: value === null ? "wrong" : null, text: verdict })]), said(words || "(no words)")]);
  }

  function card(item) {
    const task = tasks[state.task];
    return el("article", { class: "card" }, [el("div", { class: "who", text: item.id }), said(item.question),
      ...(item.target ? [el("div", { class: "who", text: "right answer" }), said(item.target)] : []),
      ...[state.a, state.b].flatMap((name) => {
        const value = score(task.metrics[state.metric][name], item.at);
        return [el("div", { class: "who" }, [visible(name), " ", el("b", { class: value >= 0.5 ? "right" : "wrong", text: String(value) })]), said(item.answers[task.models.indexOf(name)] || "(nothing)"),
          ...((item.judged || [])[task.models.indexOf(name)] || []).map(judged)];
      }), near(item, state.a)]);
  }

  function draw() {
    const task = tasks[state.task], all = [...Array(task.rows).keys()];
    const counts = Object.fromEntries(Object.keys(verdicts).map((kind) => [kind, all.filter((at) => outcome(kind, at)).length]));
    const p = chance(counts.won, counts.lost);
    byId("items-summary").replaceChildren(el("p", {}, [el("b", { text: `${count(counts.won)} won, ${count(counts.lost)} lost, ${count(counts.both)} alike` }),
      visible(` of ${count(task.rows)} questions, A against B. `), el("span", { class: "muted", text: `Exact sign test: p ${p < 0.001 ? "< 0.001" : `= ${p.toFixed(3)}`}.` })]));
    const shown = task.items.filter((item) => outcome(state.which, item.at));
    const pages = Math.max(1, Math.ceil(shown.length / AT_ONCE));
    state.page = Math.min(state.page, pages - 1);
    const turn = (by, words) => el("button", { text: words, disabled: by < 0 ? state.page === 0 : state.page === pages - 1, onclick: () => { state.page += by; draw(); } });
    byId("items").replaceChildren(el("p", { class: "muted", text: `${count(shown.length)} such questions among the ${count(task.items.length)} drawn at random to be shown here.` }),
      ...shown.slice(state.page * AT_ONCE, (state.page + 1) * AT_ONCE).map(card), el("div", { class: "pager" }, [turn(-1, "previous"), el("span", { text: `page ${state.page + 1} of ${pages}` }), turn(1, "next")]));
  }

  function build() {
    const task = tasks[state.task], metrics = Object.keys(task.metrics);
    state.metric = metrics.includes(state.metric) ? state.metric : metrics[0];
    const trained = task.models.filter((name) => neighbours.models[name]);
    state.a = task.models.includes(state.a) ? state.a : trained[trained.length - 1] || task.models[0];
    state.b = task.models.includes(state.b) ? state.b : task.models.filter((name) => name !== state.a).pop() || state.a;
    const names = task.models.map((name) => [name, name]);
    const again = (key) => (wanted) => { state[key] = wanted; state.page = 0; draw(); };
    const made = [
      ["task", choice("Task", tasks.map((one, n) => [String(n), one.task]), (wanted) => { state.task = Number(wanted); state.page = 0; build(); })],
      ["metric", choice("Metric", metrics.map((name) => [name, name]), again("metric"))],
      ["a", choice("A", names, again("a"))], ["b", choice("B", names, again("b"))],
      ["which", choice("Show", Object.entries(verdicts).map(([kind, [words]]) => [kind, words]), again("which"))],
    ];
    for (const [key, one] of made) one.select.value = String(state[key]);
    byId("items-controls").replaceChildren(...made.map(([, one]) => one.node));
    draw();
  }
  build();
}
