// The rows: search, filters by tag, pages, and one row with all that is known of it.
const PAGE = 20;
const FILTERS = ["task_category", "input_quality", "difficulty", "language", "source", "sampling_cell", "response_status", "contaminated"];

function startBrowser(pools) {
  const state = { pool: 0, words: "", filters: {}, set: "-1", page: 0, open: null };
  const controls = byId("browser-controls"), list = byId("browser-list"), pager = byId("browser-pager");

  const column = (pool, name) => pool.columns.findIndex((one) => one[0] === name);
  const value = (pool, row, name) => row[4][column(pool, name)];
  const text = (row) => row[3].map((turn) => turn[1]).join("\n").toLowerCase();

  function matching() {
    const pool = pools[state.pool];
    return pool.rows.filter((row) => row[1] && (state.set === "-1" || (row[2] >> Number(state.set)) & 1)
      && Object.entries(state.filters).every(([name, wanted]) => wanted === "" || String(value(pool, row, name)) === wanted)
      && (!state.words || text(row).includes(state.words)));
  }

  function card(row) {
    const pool = pools[state.pool];
    const tags = FILTERS.filter((name) => column(pool, name) >= 0 && value(pool, row, name) !== null).map((name) => el("span", { class: "tag", title: name, text: String(value(pool, row, name)) }));
    return el("article", { class: "card" }, [...row[3].flatMap(([role, words]) => [el("div", { class: "who", text: role }), said(words, true)]), el("div", {}, tags),
      el("button", { class: "link", text: "everything about this row", onclick: () => show(row) })]);
  }

  // Where a row is from: each value with the stage that made it, which leads to its settings.
  function detail(row) {
    const pool = pools[state.pool];
    const stage = (name) => el("a", { href: `#stage-${name}`, onclick: () => openStage(name), text: name });
    const shown = pool.columns.map(([name, maker], n) => [name, maker, row[4][n]]).filter((one) => one[2] !== null);
    const sets = pool.sets.filter((_, n) => (row[2] >> n) & 1).map((one) => one[0]);
    return el("article", { class: "card", id: "row" }, [
      el("button", { text: "back to the list", onclick: () => { state.open = null; draw(); } }),
      el("p", { class: "muted" }, ["Row ", el("code", { text: row[0] }), sets.length ? visible(`, in ${sets.join(", ")}`) : visible(", in none of the data sets"), row[1] ? null : visible(". Not of the random sample: it is here because another part of this report points at it")].filter(Boolean)),
      ...row[3].flatMap(([role, words], turn) => {
        const maker = pool.chat[role === "user" && turn === 0 ? "instruction" : role === "assistant" && turn === 1 ? "response" : "messages"];
        return [el("div", { class: "who" }, [visible(role), ...(maker ? [" by ", stage(maker)] : [])]), said(words)];
      }),
      el("div", { class: "wide" }, [el("table", { class: "settings" }, [el("tbody", {}, shown.map(([name, maker, found]) => el("tr", {}, [
        el("th", { scope: "row" }, [el("code", { text: name })]), el("td", {}, [stage(maker)]), el("td", { text: typeof found === "object" ? JSON.stringify(found) : String(found) })])))])]),
    ]);
  }

  function show(row) { state.open = row; draw(); byId("browser").scrollIntoView(); }

  function draw() {
    if (state.open) { list.replaceChildren(detail(state.open)); pager.replaceChildren(); return; }
    const rows = matching(), pages = Math.max(1, Math.ceil(rows.length / PAGE));
    state.page = Math.min(state.page, pages - 1);
    list.replaceChildren(...rows.slice(state.page * PAGE, (state.page + 1) * PAGE).map(card));
    const turn = (by, words) => el("button", { text: words, disabled: by < 0 ? state.page === 0 : state.page === pages - 1, onclick: () => { state.page += by; draw(); byId("browser").scrollIntoView(); } });
    pager.replaceChildren(turn(-1, "previous"), el("span", { text: `${count(rows.length)} rows of the sample, page ${state.page + 1} of ${count(pages)}` }), turn(1, "next"));
  }

  function build() {
    const pool = pools[state.pool], drawn = pool.rows.filter((row) => row[1]);
    state.filters = {}; state.set = "-1"; state.page = 0; state.open = null;
    const again = () => { state.page = 0; state.open = null; draw(); };
    const search = el("input", { type: "search", placeholder: "words in it", oninput: () => { state.words = search.value.toLowerCase(); again(); } });
    search.value = state.words;
    const fields = [el("label", { text: "Search" }, [search])];
    if (pools.length > 1) {
      const from = choice("Made by", pools.map((one, n) => [String(n), `${one.pool} (${count(one.of)} rows)`]), (wanted) => { state.pool = Number(wanted); build(); });
      from.select.value = String(state.pool);
      fields.push(from.node);
    }
    fields.push(choice("In data set", [["-1", "any or none"], ...pool.sets.map((one, n) => [String(n), `${one[0]} (${count(one[1])} rows)`])], (wanted) => { state.set = wanted; again(); }).node);
    for (const name of FILTERS.filter((one) => column(pool, one) >= 0)) {
      const values = [...new Set(drawn.map((row) => value(pool, row, name)).filter((one) => one !== null).map(String))].sort();
      if (values.length < 2 || values.length > 60) continue;
      fields.push(choice(name.replaceAll("_", " "), [["", "any"], ...values.map((one) => [one, one])], (wanted) => { state.filters[name] = wanted; again(); }).node);
    }
    controls.replaceChildren(...fields);
    draw();
  }

  state.pool = pools.reduce((best, pool, n) => (pool.columns.length > pools[best].columns.length ? n : best), 0);
  build();
  return (uuid) => {
    const found = pools.findIndex((pool) => pool.rows.some((row) => row[0] === uuid));
    if (found < 0) return false;
    if (found !== state.pool) { state.pool = found; build(); }
    show(pools[found].rows.find((row) => row[0] === uuid));
    return true;
  };
}

function openStage(name) {
  const node = byId(`stage-${name}`);
  if (node) node.open = true;
}
