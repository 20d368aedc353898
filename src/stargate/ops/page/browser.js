// The browser of keys: a level of the key space at a time, and the revisions of one key.

/** What is shown: a namespace, a prefix in it, one page, and one key of it. */
const place = { repo: "", ns: "", prefix: "", after: "", key: undefined };
let request = 0;
const DATE = { dateStyle: "medium", timeStyle: "medium", hourCycle: "h23" };
/** Levels of a prefix that are shown. */
const MOST_STEPS = 6;

/** Shows another place of the store. */
async function goTo(change) {
  Object.assign(place, { after: "", key: undefined }, change);
  if (place.ns === "") return;
  const mine = ++request;
  const { repo, ns, prefix, after, key } = place;
  const query = new URLSearchParams(key === undefined ? { repo, ns, prefix, after } : { repo, ns, key });
  let content;
  try {
    const answer = await ask(`api/${key === undefined ? "keys" : "history"}?${query}`);
    content = key === undefined ? keyList(answer) : revisionList(answer);
  } catch (error) {
    content = [el("p", { class: "empty is-bad", role: "alert" }, error.message)];
  }
  // A slow answer must not take the place of what was asked for after it.
  if (mine !== request) return;
  const host = document.getElementById("browser");
  const hadFocus = host.contains(document.activeElement);
  host.replaceChildren(crumbs(), ...content);
  if (hadFocus) host.querySelector("button")?.focus();
}

function crumbs() {
  const steps = [el("button", { type: "button", class: "link", click: () => goTo({ prefix: "" }) }, place.ns)];
  let upTo = "";
  const parts = place.prefix.split(/(?<=[:/])/).filter((each) => each !== "");
  for (const [i, part] of parts.entries()) {
    upTo += part;
    // A key can have a thousand levels: the first ones and the last ones say where it is.
    if (parts.length > MOST_STEPS && i >= 2 && i < parts.length - MOST_STEPS + 2) {
      if (i === 2) steps.push(el("span", { class: "quiet" }, "› …"));
      continue;
    }
    const prefix = upTo;
    steps.push(
      el("span", { class: "quiet", "aria-hidden": "true" }, "›"),
      el("button", { type: "button", class: "link mono", click: () => goTo({ prefix }) }, part),
    );
  }
  if (place.key !== undefined) {
    const tail = place.key.startsWith(place.prefix) ? place.key.slice(place.prefix.length) : place.key;
    steps.push(el("span", { class: "quiet", "aria-hidden": "true" }, "›"), el("span", { class: "mono" }, tail));
  }
  return el("nav", { class: "crumbs", "aria-label": "Place in the store" }, steps);
}

function keyList({ rows, after }) {
  if (rows.length === 0) return [el("p", { class: "empty" }, "No keys here.")];
  const items = rows.map((row) =>
    row.kind === "prefix"
      ? el("li", {}, linkTo({ prefix: row.prefix }, row.prefix), el("span", { class: "quiet" }, "…"))
      : el(
          "li",
          {},
          linkTo({ key: row.key }, row.key),
          row.expires === undefined ? undefined : el("span", { class: "quiet" }, "until ", dateOf(row.expires)),
        ),
  );
  const list = el("ul", { class: "rows" }, items);
  if (after === undefined) return [list];
  const more = el("button", { type: "button", class: "link", click: () => goTo({ after }) }, "Next page");
  return [list, el("p", { class: "empty" }, more)];
}

function linkTo(target, text) {
  return el("button", { type: "button", class: "link mono grow", click: () => goTo(target) }, el("span", {}, text));
}

function revisionList({ revisions }) {
  if (revisions.length === 0) return [el("p", { class: "empty" }, "This key was never set in this epoch.")];
  const items = revisions.map(({ kind, rev, seq, at, author, subject, oid, size, ctype, expires }) =>
    el(
      "li",
      {},
      el("strong", { class: kind === "deleted" ? "is-warn" : undefined }, `${kind} · rev ${rev}`),
      el("span", { class: "grow quiet" }, at === undefined ? "long ago" : dateOf(at)),
      kind === "set" ? el("span", { class: "quiet" }, `${size.toLocaleString()} bytes, ${ctype}`) : undefined,
      el("span", { class: "wide" }, subject ?? ""),
      el(
        "span",
        { class: "wide quiet" },
        el("span", {}, author ?? ""),
        ` · seq ${seq ?? "–"}${oid === undefined ? "" : ` · ${oid.slice(0, 12)}`}`,
      ),
      expires === undefined ? undefined : el("span", { class: "wide quiet" }, "expires ", dateOf(expires)),
    ),
  );
  const list = el("ol", { class: "rows" }, items);
  if (revisions.at(-1).rev === 1) return [list];
  return [list, el("p", { class: "empty line" }, "Older ones: ", el("code", {}, "git kv history KEY"))];
}

function dateOf(seconds) {
  const date = new Date(seconds * 1000);
  // A commit may claim any time.
  if (Number.isNaN(date.getTime())) return `@${seconds}`;
  return el("time", { datetime: date.toISOString(), title: date.toISOString() }, date.toLocaleString([], DATE));
}
