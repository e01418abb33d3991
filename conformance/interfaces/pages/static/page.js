"use strict";
(() => {
  const root = document.documentElement;
  const find = (selector) => document.querySelector(selector);
  const every = (selector) => [...document.querySelectorAll(selector)];
  const read = (id) => JSON.parse(find(id).textContent || "null");
  const SIGMAS = 10;
  const PIECE = 100;

  function make(tag, text, attributes = {}) {
    const element = document.createElement(tag);
    if (text !== undefined && text !== null) element.textContent = text;
    for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
    return element;
  }

  // Light and dark.
  let kept = null;
  try { kept = localStorage.getItem("kterm-theme"); } catch { /* a browser may keep nothing */ }
  const dark = matchMedia("(prefers-color-scheme: dark)");
  function setTheme(name) {
    root.dataset.theme = name;
    find("#theme").setAttribute("aria-label", `Theme: ${name}. Change to ${name === "dark" ? "light" : "dark"}`);
  }
  setTheme(kept === "dark" || kept === "light" ? kept : dark.matches ? "dark" : "light");
  function toggleTheme() {
    setTheme(root.dataset.theme === "dark" ? "light" : "dark");
    try { localStorage.setItem("kterm-theme", root.dataset.theme); } catch { /* as above */ }
    for (const id of drawn) draw(id);
  }
  dark.addEventListener("change", () => { if (!kept) { setTheme(dark.matches ? "dark" : "light"); for (const id of drawn) draw(id); } });

  // Charts are drawn when they come into view.
  const specs = new Map((read("#chart-data") || []).map((one) => [one.id, one.spec]));
  const drawn = new Set();
  const views = new Map();
  function draw(id) {
    drawn.add(id);
    const place = find(`.plot[data-chart="${id}"]`);
    const style = getComputedStyle(root);
    const colour = (name) => style.getPropertyValue(`--${name}`).trim();
    const spec = structuredClone(specs.get(id));
    const room = place.closest("section").clientWidth;
    if ("facet" in spec && spec.facet.field) spec.columns = Math.max(1, Math.min(4, Math.floor(room / 300)));
    if (spec.spec && spec.spec.width > room - 120) spec.spec.width = Math.max(200, room - 120);
    const axis = { labelColor: colour("soft"), titleColor: colour("soft"), gridColor: colour("line"), domainColor: colour("line"), tickColor: colour("line") };
    const config = {
      background: "transparent", font: "system-ui, sans-serif", axis, view: { stroke: colour("line") },
      legend: { labelColor: colour("text"), titleColor: colour("soft") }, header: { labelColor: colour("text"), titleColor: colour("soft") },
    };
    // The interpreter evaluates expressions without eval, which the policy of the page forbids.
    return window.vegaEmbed(place, spec, { ast: true, actions: false, renderer: "svg", config }).then((result) => {
      views.set(id, result.view);
      const choice = find(`.choice[data-chart="${id}"]`);
      const svg = place.querySelector("svg");
      if (svg) { svg.setAttribute("role", "img"); svg.setAttribute("aria-label", `Chart: ${find(`#${id}-title`).textContent}`); }
      return choice ? result.view.signal("choice", choice.value).runAsync() : null;
    });
  }
  const seen = new IntersectionObserver((entries) => {
    for (const entry of entries) {
      if (entry.isIntersecting) { seen.unobserve(entry.target); draw(entry.target.dataset.chart); }
    }
  }, { rootMargin: "200px" });
  every(".plot").forEach((place) => seen.observe(place));
  addEventListener("beforeprint", () => { for (const id of specs.keys()) if (!drawn.has(id)) draw(id); });
  every(".choice").forEach((choice) => choice.addEventListener("change", () => {
    const view = views.get(choice.dataset.chart);
    if (view) view.signal("choice", choice.value).runAsync();
  }));

  every(".copy").forEach((button) => button.addEventListener("click", () => copy(button, button.dataset.text)));
  function copy(button, text) {
    const said = () => { button.textContent = "Copied"; setTimeout(() => { button.textContent = "Copy"; }, 1500); };
    if (navigator.clipboard) navigator.clipboard.writeText(text).then(said, () => {});
  }

  // The cases.
  const packed = find("#case-data").textContent;
  const commands = read("#command-data") || {};
  const filters = find("#filters");
  let cases = [];
  let found = [];
  let shown = 0;

  async function unpack() {
    const bytes = Uint8Array.from(atob(packed), (c) => c.charCodeAt(0));
    const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
    const text = await new Response(stream).text();
    return text.split("\n").filter(Boolean).map(decode);
  }

  const number = (value) => (value === null ? null : Number(value === "inf" ? Infinity : value === "-inf" ? -Infinity : value));

  function decode(line) {
    const [adapter, id, status, checks, blocked, weak, verdicts] = JSON.parse(line);
    const fields = id.split("-");
    let worst = -1;
    let where = "";
    for (const [name, , margin] of checks) {
      const value = number(margin);
      if (value !== null && (Number.isNaN(value) || value > worst)) { worst = Number.isNaN(value) ? Infinity : value; where = name; }
    }
    // leaky_relu_0d2 is leaky_relu with another value of its parameter.
    const activations = fields[1].split(".").map((name) => name.replace(/_\d[\ddem]*$/, ""));
    return { adapter, id, status, checks, blocked, weak, verdicts, worst, where, activations, dtype: fields[4], regime: fields[5] };
  }

  const layerOf = (regime) => (regime.startsWith("@") ? decodeURIComponent(regime.slice(1)) : regime);

  function fill(name, values) {
    const select = filters.elements[name];
    select.append(make("option", "all", { value: "" }), ...[...new Set(values)].map((value) => make("option", name === "regime" ? layerOf(value) : value, { value })));
  }

  function sigmas(margin) {
    if (margin < 0) return "";
    if (margin === Infinity) return "∞";
    const value = SIGMAS * margin;
    return value < 1e6 ? String(Number(value.toPrecision(2))) : value.toExponential(1).replace("e+", "e");
  }

  function matches(one, words, chosen) {
    return words.every((word) => one.text.includes(word))
      && (!chosen.adapter || one.adapter === chosen.adapter) && (!chosen.status || one.status === chosen.status)
      && (!chosen.dtype || one.dtype === chosen.dtype) && (!chosen.regime || one.regime === chosen.regime)
      && (!chosen.activation || one.activations.includes(chosen.activation))
      && (!chosen.check || one.checks.some(([name]) => name === chosen.check));
  }

  function search() {
    const words = find("#search").value.toLowerCase().split(/\s+/).filter(Boolean);
    const chosen = Object.fromEntries(["adapter", "status", "activation", "dtype", "regime", "check"].map((name) => [name, filters.elements[name].value]));
    found = cases.filter((one) => matches(one, words, chosen));
    if (filters.elements.order.value === "worst") found = [...found].sort((a, b) => b.worst - a.worst);
    find("#found").textContent = `${found.length.toLocaleString("en")} of ${cases.length.toLocaleString("en")} cases`;
    find("#list tbody").replaceChildren();
    shown = 0;
    showMore();
  }

  function showMore() {
    const body = find("#list tbody");
    for (const one of found.slice(shown, shown + PIECE)) {
      const row = make("tr");
      if (one.status === "failed" || one.status === "errored" || one.status === "blocked") row.className = "marked";
      const first = make("td");
      first.append(make("a", one.id, { href: `#case=${encodeURIComponent(one.adapter)}/${encodeURIComponent(one.id)}` }));
      row.append(first, make("td", one.adapter), make("td", one.status), make("td", one.where), make("td", sigmas(one.worst), { class: "number" }));
      body.append(row);
    }
    shown = Math.min(found.length, shown + PIECE);
    find("#more").hidden = shown >= found.length;
  }

  function table(heads, rows) {
    const whole = make("table");
    const head = make("tr");
    for (const text of heads) head.append(make("th", text, { scope: "col" }));
    const body = make("tbody");
    for (const [cells, marked] of rows) {
      const row = make("tr");
      if (marked) row.className = "marked";
      cells.forEach((cell) => row.append(make("td", cell)));
      body.append(row);
    }
    const top = make("thead");
    top.append(head);
    whole.append(top, body);
    const wide = make("div", null, { class: "wide", tabindex: "0", role: "region", "aria-label": heads[0] });
    wide.append(whole);
    return wide;
  }

  const text = (value) => (value === undefined || value === null ? "" : String(value));

  function showCase(adapter, id) {
    const one = cases.find((each) => each.adapter === adapter && each.id === id);
    const place = find("#case");
    const body = find("#case-body");
    body.replaceChildren();
    find("#case-title").textContent = `${id} on ${adapter}`;
    if (!one) {
      body.append(make("p", "This page has no such case."));
    } else {
      body.append(make("p", `${one.status}${one.weak.length ? `; undecided: ${one.weak.join(", ")}` : ""}`));
      const rows = one.checks.map(([name, status, margin, power, tensors]) => [
        [name, status, one.blocked[name] || tensors.join(", "), margin === null ? "" : sigmas(number(margin)), text(power)],
        status === "failed" || status === "errored",
      ]);
      body.append(table(["check", "status", "compared", "largest error, σ", "least power"], rows));
      if (one.verdicts.length) {
        const full = one.verdicts.map((v) => [
          [v.step ? `step ${v.step}: ${v.quantity}` : v.quantity, v.expectation ? `${v.grade}, expected` : v.grade, v.at ? `[${v.at.join(", ")}]` : "",
            v.message || text(v.observed), text(v.expected), v.worst === undefined ? "" : sigmas(number(v.worst)), text(v.tolerance)],
          (v.grade === "wrong" || v.grade === "inaccurate") && !v.expectation && !v.below_level,
        ]);
        body.append(table(["quantity", "grade", "worst at", "framework", "rule", "error, σ", "tolerance"], full));
      }
      const list = make("ul", null, { class: "commands" });
      const words = commands[adapter];
      for (const command of words ? ["replay", "shrink"] : []) {
        const line = `kterm ${command} ${id} ${words}`;
        const item = make("li");
        const button = make("button", "Copy", { type: "button", "aria-label": `Copy ${line}` });
        button.addEventListener("click", () => copy(button, line));
        item.append(make("code", line), button);
        list.append(item);
      }
      body.append(list);
    }
    place.hidden = false;
    place.scrollIntoView({ block: "nearest" });
    place.focus();
  }

  function closeCase() {
    const place = find("#case");
    if (!place || place.hidden) return;
    place.hidden = true;
    history.replaceState(null, "", "#cases");
    (find("#list a:focus") || find("#search")).focus();
  }

  function follow() {
    const match = /^#case=([^/]*)\/(.*)$/.exec(location.hash);
    if (match && cases.length) showCase(decodeURIComponent(match[1]), decodeURIComponent(match[2]));
  }

  function setFilters(wanted) {
    filters.reset();
    for (const [name, value] of Object.entries(wanted)) {
      const select = filters.elements[name];
      if (select && [...select.options].some((option) => option.value === value)) select.value = value;
      else if (name === "regime") select.value = [...select.options].find((option) => option.textContent === value)?.value || "";
    }
    search();
  }

  function step(by) {
    const links = every("#list a");
    if (!links.length) return;
    const at = links.indexOf(document.activeElement);
    links[Math.max(0, Math.min(links.length - 1, at + by))].focus();
  }

  function nextFailure() {
    const all = every(".failure");
    if (!all.length) return;
    const next = all[(all.findIndex((one) => one.contains(document.activeElement)) + 1) % all.length];
    next.tabIndex = -1;
    next.focus();
    next.scrollIntoView({ block: "start" });
  }

  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key === "Escape") { if (event.target === find("#search")) event.target.blur(); else closeCase(); return; }
    if (/^(INPUT|SELECT|TEXTAREA)$/.test(event.target.tagName)) return;
    const act = { "/": () => find("#search")?.focus(), t: toggleTheme, f: nextFailure, j: () => step(1), k: () => step(-1) }[event.key];
    if (act) { event.preventDefault(); act(); }
  });
  find("#theme").addEventListener("click", toggleTheme);

  if (!packed || !filters) return;
  filters.addEventListener("submit", (event) => event.preventDefault());
  filters.addEventListener("reset", () => setTimeout(search));
  filters.addEventListener("input", search);
  find("#more").addEventListener("click", showMore);
  find("#close").addEventListener("click", closeCase);
  every(".matrix a").forEach((link) => link.addEventListener("click", () => {
    const { adapter, activation, dtype, regime, check } = link.dataset;
    setFilters(Object.fromEntries(Object.entries({ adapter, activation, dtype, regime, check }).filter(([, value]) => value)));
    find("#found").scrollIntoView();
  }));
  addEventListener("hashchange", follow);
  const begin = () => unpack().then((all) => {
    cases = all;
    for (const one of cases) one.text = `${one.id} ${layerOf(one.regime)} ${one.adapter} ${one.status}`.toLowerCase();
    const order = (values) => [...new Set(values)].sort();
    fill("adapter", cases.map((one) => one.adapter));
    fill("status", order(cases.map((one) => one.status)));
    fill("activation", order(cases.flatMap((one) => one.activations)));
    fill("dtype", cases.map((one) => one.dtype));
    fill("regime", cases.map((one) => one.regime));
    fill("check", cases.flatMap((one) => one.checks.map(([name]) => name)));
    search();
    root.dataset.ready = "true";
    follow();
  }, (error) => { find("#found").textContent = `The cases could not be read: ${error.message}`; });
  // After the first view is there.
  requestAnimationFrame(() => setTimeout(begin));
})();
