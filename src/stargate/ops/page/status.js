// The page itself: asks for the state every few seconds and shows it.

const EVERY = 5_000;
/** While nobody answers. */
const SELDOM = 15_000;
/** Rows of a table, until all are asked for. */
const FEW = 12;
/** Milliseconds after which a namespace that the mirror lacks is worth the first place. */
const LATE = 10_000;
const state = { open: new Set(), repo: undefined, isPaused: false, failures: 0, seenAt: undefined, last: undefined };
/** What each part of the page was made from, so that it is made anew only where that changes. */
const shown = new Map();

/** The answer to a request of this page's own server. Throws where there is none. */
async function ask(path) {
  const response = await fetch(path, { headers: { Accept: "application/json" }, signal: AbortSignal.timeout(20_000) });
  const answer = await response.json();
  if (!response.ok) throw new Error(answer.error?.message ?? `HTTP ${response.status}`);
  return answer;
}

/** Remakes the part `id` from `input` where it is another than before; keeps the focus where it is. */
function show(id, input, make) {
  const made = JSON.stringify(input);
  if (shown.get(id) === made) return;
  shown.set(id, made);
  const host = document.getElementById(id);
  const focused = host.contains(document.activeElement) ? document.activeElement.dataset.focus : undefined;
  make(host, input);
  if (focused !== undefined) host.querySelector(`[data-focus="${CSS.escape(focused)}"]`)?.focus();
}

function problemsOf(repo, isStopping) {
  const problems = [];
  const bad = (text) => problems.push({ level: "bad", text });
  const warn = (text) => problems.push({ level: "warn", text });
  if (isStopping) warn("This node is being stopped.");
  if (!repo.writable) bad(`Writing has stopped: ${repo.error}`);
  for (const { ns, why } of repo.refused) bad(`No writes${ns === "" ? "" : ` to ${ns}`} are taken: ${why}`);
  for (const { name, ok, error } of repo.health) if (!ok) bad(`Check '${name}' fails: ${error}`);
  const { mirror } = repo;
  if (mirror?.state === "blocked") bad(`The mirror refuses pushes: ${mirror.error}`);
  if ((mirror?.diverged.length ?? 0) > 0) bad(`The mirror has diverged: ${mirror.diverged.join(", ")}`);
  for (const { ns, error } of mirror?.stuck ?? []) {
    if (error !== mirror.error) bad(`The mirror of ${ns === "" ? "the policy" : ns} is stuck: ${error}`);
  }
  for (const { name, ok, error } of repo.ready)
    if (!ok && name !== "leader" && name !== "writes") warn(`Not ready by '${name}': ${error}`);
  for (const { name, ok, value, unit, target } of repo.objectives) {
    const figure = unit === "ms" ? duration(value).join("\u00a0") : percent(value);
    if (!ok) warn(`Objective missed: ${name} is ${figure}, not ${goalOf(unit, target)}`);
  }
  if (repo.policy?.error !== undefined) bad(`The policy in force cannot be read: ${repo.policy.error}`);
  if (repo.policy?.drift === "differs") warn("The policy file on the default branch is not the one in force.");
  return problems;
}

function percent(share) {
  return share === null ? "–" : `${Number((share * 100).toFixed(2))}\u00a0%`;
}

function goalOf(unit, target) {
  if (unit !== "ms") return `at least ${percent(target)}`;
  return `under ${duration(target).join("\u00a0").replace(".0\u00a0", "\u00a0")}`;
}

function factsOf({ role, mirror, namespaces }) {
  const leads = role === "leader" ? "Leading" : role;
  if (mirror === null) return `${leads} · no mirror`;
  const backlog = namespaces.reduce((sum, each) => sum + (each.backlog ?? 0), 0);
  const isCurrent = mirror.state === "idle" && namespaces.every((each) => each.mirror === "current");
  const behind = backlog === 0 ? "" : `${backlog.toLocaleString()} behind · `;
  return `${leads} · mirror ${isCurrent ? "up to date · " : behind}${mirror.state}`;
}

function showVerdict(host, { problems, facts }) {
  const level = problems.some((each) => each.level === "bad") ? "bad" : problems.length > 0 ? "warn" : "good";
  const title = { good: "All is well", warn: "Worth a look", bad: "Something is wrong" }[level];
  const list =
    problems.length === 0
      ? undefined
      : el(
          "ul",
          {},
          problems.map(({ text }) => el("li", {}, text)),
        );
  host.replaceChildren(el("div", { class: `verdict ${level}` }, el("strong", {}, title), el("p", {}, facts), list));
  // Told to who does not see it when it becomes another, and not with each figure.
  const said = document.getElementById("said");
  if (said.textContent !== title) said.textContent = title;
}

function showObjectives(host, objectives) {
  const tiles = objectives.map(({ name, value, unit, target, ok, samples, window }) => {
    const [figure, small] =
      unit === "ms" ? duration(value) : [percent(value).replace("\u00a0%", ""), value === null ? "" : "%"];
    const verdict = samples === 0 ? "nothing to measure yet" : `${ok ? "✓ met" : "✕ missed"} · ${goalOf(unit, target)}`;
    const state = samples === 0 ? "" : ok ? " is-good" : " is-bad";
    return el(
      "div",
      { class: "card tile" },
      el("span", { class: "name" }, name),
      el("span", { class: `figure${ok ? "" : " is-bad"}` }, figure, el("small", {}, small)),
      el("span", { class: `target${state}` }, verdict),
      el(
        "span",
        { class: "target" },
        `${window > 3_600 ? "24 h" : "last hour"}, ${samples.toLocaleString()} ${samples === 1 ? "sample" : "samples"}`,
      ),
    );
  });
  host.replaceChildren(...tiles);
}

/** A table; on a phone each cell stands under its own label. Roles are said, as a table laid out otherwise loses its own. */
function table(columns, rows) {
  const head = el(
    "thead",
    { role: "rowgroup" },
    el(
      "tr",
      { role: "row" },
      columns.map(([label, kind]) => el("th", { role: "columnheader", scope: "col", class: kind }, label)),
    ),
  );
  const body = rows.map((cells) =>
    el(
      "tr",
      { role: "row" },
      cells.map((cell, i) =>
        el("td", { role: "cell", "data-label": columns[i][0], class: cell === "–" ? "none" : columns[i][1] }, cell),
      ),
    ),
  );
  return el("table", { role: "table" }, head, el("tbody", { role: "rowgroup" }, body));
}

function behind({ backlog, lag, mirror }) {
  if (mirror === undefined) return "–";
  if (mirror === "diverged" || mirror === "unknown") return mirror;
  return backlog === 0 ? "0" : `${backlog.toLocaleString()} (${duration(lag).join(" ")})`;
}

function showNamespaces(host, { repo, namespaces, areAll }) {
  if (namespaces.length === 0) return host.replaceChildren(el("p", { class: "empty" }, "Nothing was written yet."));
  const late = ({ lag }) => (lag > LATE ? lag : 0);
  const sorted = namespaces.toSorted((a, b) => late(b) - late(a));
  const rows = few(sorted, areAll).map(({ ns, seq, ledger, verify, requireSignedCommits, ...copy }) => [
    el("button", { type: "button", class: "link", "data-focus": ns, click: () => goTo({ repo, ns, prefix: "" }) }, ns),
    seq.toLocaleString(),
    el("code", {}, ledger.slice(0, 10)),
    `${verify}, ${requireSignedCommits ? "signed" : "unsigned"}`,
    behind(copy),
  ]);
  const columns = [
    ["Namespace", "first"],
    ["Seq", "number"],
    ["Ledger", "short"],
    ["Lets in", "short"],
    ["Behind", "number"],
  ];
  host.replaceChildren(table(columns, rows), ...toggle("namespaces", namespaces, areAll));
}

function showChecks(host, checks) {
  const items = checks.map(({ name, ok, ms, error }) =>
    el(
      "li",
      {},
      el(
        "span",
        { class: ok ? "is-good" : "is-bad", role: "img", "aria-label": ok ? "well" : "fails" },
        ok ? "✓" : "✕",
      ),
      el("span", { class: "grow" }, name, el("span", { class: "quiet", "aria-hidden": "true" }, ok ? "" : " fails")),
      el("span", { class: "quiet number" }, duration(ms).join(" ")),
      error === undefined ? undefined : el("span", { class: "wide is-bad" }, error),
    ),
  );
  host.replaceChildren(el("ul", { class: "rows" }, items));
}

/** Object ids cut as git shows them. */
function shortened(text) {
  return text.replace(/\b[0-9a-f]{40,64}\b/g, (oid) => oid.slice(0, 12));
}

function few(rows, areAll) {
  return areAll ? rows : rows.slice(0, FEW);
}

/** What shows all rows of the part `id`, or few again; nothing where few are all. */
function toggle(id, rows, areAll) {
  if (rows.length <= FEW) return [];
  const turn = () => {
    if (areAll) state.open.delete(id);
    else state.open.add(id);
    render(state.last);
  };
  const label = areAll ? "Show fewer" : `Show all ${rows.length.toLocaleString()}`;
  const button = el("button", { type: "button", class: "link", "data-focus": "all", click: turn }, label);
  return [el("p", { class: "empty line" }, button)];
}

function showRecent(host, { recent, areAll }) {
  if (recent.length === 0) return host.replaceChildren(el("p", { class: "empty" }, "No pushes yet."));
  const rows = few(recent, areAll).map((event) => {
    const date = new Date(event.at);
    const when = el("time", { datetime: date.toISOString(), title: date.toISOString() }, moment(event.at));
    const isIn = event.kind === "accepted";
    const [set, del] = isIn ? [event.keysSet, event.keysDel] : [0, 0];
    const keys = [set > 0 ? `+${set}` : "", del > 0 ? `−${del}` : ""].filter((each) => each !== "").join(" ") || "–";
    const verdict = isIn
      ? el("span", { class: "is-good" }, "✓ accepted")
      : [el("span", { class: "is-bad" }, `✕ ${event.code}`), el("div", { class: "quiet" }, shortened(event.message))];
    const signer =
      event.signer === undefined ? undefined : el("span", { class: "quiet mono" }, ` ${event.signer.slice(0, 18)}…`);
    const took = event.ms > 0 ? duration(event.ms).join(" ") : "–";
    return [when, event.ns || "–", el("span", {}, event.who, signer), keys, verdict, event.seq ?? "–", took];
  });
  const columns = [
    ["Time", "when"],
    ["Namespace"],
    ["Who", "who"],
    ["Keys", "number"],
    ["Verdict", "first"],
    ["Seq", "number"],
    ["Took", "number"],
  ];
  host.replaceChildren(table(columns, rows), ...toggle("recent", recent, areAll));
}

function showRejections(host, rejections) {
  const rows = Object.entries(rejections).sort(([, a], [, b]) => b - a);
  if (rows.length === 0) return host.replaceChildren(el("p", { class: "empty" }, "None in the last 24 hours."));
  const most = rows[0][1];
  const cells = rows.flatMap(([code, count]) => [
    el("code", {}, code),
    svg(
      "svg",
      { viewBox: "0 0 100 10", preserveAspectRatio: "none", "aria-hidden": "true" },
      svg("rect", { width: (100 * count) / most, height: 10, rx: 1 }),
    ),
    el("span", {}, count.toLocaleString()),
  ]);
  host.replaceChildren(el("div", { class: "bars" }, cells));
}

function showRepositories(host, { names, current }) {
  if (names.length < 2) return host.replaceChildren(el("span", { class: "mono quiet" }, current));
  const choose = (name) => () => {
    state.repo = name;
    Object.assign(place, { repo: "", ns: "" });
    render(state.last);
  };
  host.replaceChildren(
    ...names.map((name) =>
      el(
        "button",
        { type: "button", "data-focus": name, "aria-current": String(name === current), click: choose(name) },
        name,
      ),
    ),
  );
}

function render(answer) {
  const { repositories, node, stopping } = answer;
  const repo = repositories.find(({ name }) => name === state.repo) ?? repositories[0];
  const problems = problemsOf(repo, stopping);
  document.title = `${problems.length === 0 ? "✓" : "!"} ${repo.name} · Stargate`;
  show("repositories", { names: repositories.map(({ name }) => name), current: repo.name }, showRepositories);
  show("verdict", { problems, facts: factsOf(repo) }, showVerdict);
  show("objectives", repo.objectives, showObjectives);
  const accept = {
    title: "Accept latency",
    series: repo.accept,
    target: 150,
    empty: "No transaction in the last hour.",
  };
  show("plot-accept", { ...accept, width: innerWidth }, drawPlot);
  const lagEmpty = repo.mirror === null ? "There is no mirror." : "Nothing was mirrored in the last hour.";
  const note = " What waits counts with its age.";
  const lag = { title: "Mirror lag", series: repo.lag, target: 2_000, empty: lagEmpty, note };
  show("plot-lag", { ...lag, width: innerWidth }, drawPlot);
  show(
    "namespaces",
    { repo: repo.name, namespaces: repo.namespaces, areAll: state.open.has("namespaces") },
    showNamespaces,
  );
  show("checks", [...repo.health, ...repo.ready], showChecks);
  show("recent", { recent: repo.recent, areAll: state.open.has("recent") }, showRecent);
  show("rejections", repo.rejections, showRejections);
  const facts = Object.entries(node).map(([name, value]) => `${name} ${value}`);
  show(
    "node",
    [
      ...facts,
      `format ${repo.format}`,
      repo.mirror === null ? "" : `mirror ${repo.mirror.remote}`,
      `times in ${Intl.DateTimeFormat().resolvedOptions().timeZone}`,
    ],
    (host, all) => {
      host.replaceChildren(el("p", {}, all.filter((fact) => fact !== "").join(" · ")));
    },
  );
  if (place.ns === "" && repo.namespaces.length > 0) goTo({ repo: repo.name, ns: repo.namespaces[0].ns, prefix: "" });
  else if (repo.namespaces.length === 0) {
    document.getElementById("browser").replaceChildren(el("p", { class: "empty" }, "No keys yet."));
  }
}

async function refresh() {
  try {
    state.last = await ask("api/status");
    state.failures = 0;
    state.seenAt = Date.now();
    render(state.last);
  } catch (error) {
    state.failures++;
    const problems = [{ level: "bad", text: `The Stargate does not answer: ${error.message}` }];
    document.title = "! Stargate";
    const facts = state.last === undefined ? "Nothing is known yet" : "What is shown below was true before";
    show("verdict", { problems, facts }, showVerdict);
  }
  tick();
  clearTimeout(state.timer);
  if (!state.isPaused) state.timer = setTimeout(refresh, Math.min(SELDOM, EVERY * 2 ** Math.min(state.failures, 4)));
}

function tick() {
  const age = state.seenAt === undefined ? undefined : Math.round((Date.now() - state.seenAt) / 1000);
  const seen =
    age === undefined
      ? "asking"
      : age < 15 && state.failures === 0
        ? "up to date"
        : `seen ${duration(age * 1000).join(" ")} ago`;
  const text = state.isPaused ? `paused, ${seen}` : seen;
  const fresh = document.getElementById("fresh");
  if (fresh.textContent !== text) fresh.textContent = text;
}

document.getElementById("pause").addEventListener("click", (event) => {
  state.isPaused = !state.isPaused;
  event.currentTarget.setAttribute("aria-pressed", String(state.isPaused));
  tick();
  clearTimeout(state.timer);
  if (!state.isPaused) refresh();
});
addEventListener("resize", () => state.last !== undefined && render(state.last));
setInterval(tick, 1_000);
refresh();
