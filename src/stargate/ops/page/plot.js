// Plots of one series of the last hour, drawn as SVG. Text goes into the page as text, here and in the other scripts.

/** An element with attributes and children; children that are no elements become text. */
function el(tag, attributes = {}, ...children) {
  return fill(document.createElement(tag), attributes, children);
}

/** The same for SVG. */
function svg(tag, attributes = {}, ...children) {
  return fill(document.createElementNS("http://www.w3.org/2000/svg", tag), attributes, children);
}

function fill(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === "function") element.addEventListener(name, value);
    else if (value !== undefined) element.setAttribute(name, value);
  }
  for (const child of children.flat()) {
    if (typeof child === "string") element.append(...visible(child));
    else if (child !== undefined) element.append(child);
  }
  return element;
}

/**
 * Characters that nobody sees, or that turn others around, so that a name could look like another one. Joiners and selectors of
 * variants that stand within emoji, or a word of a script that needs them, are none of them.
 */
const UNSEEN =
  /((?!\p{Join_Control}|\p{Variation_Selector})[\p{Default_Ignorable_Code_Point}\p{Cc}\p{Zl}\p{Zp}]|(?<![^\0-\x7f]|[\d#*])[\p{Join_Control}\p{Variation_Selector}]|\p{Join_Control}(?![^\0-\x7f]))/u;

/** `text` with such characters named. */
function visible(text) {
  if (!UNSEEN.test(text)) return [text];
  return text.split(UNSEEN).map((part, i) => {
    if (i % 2 === 0) return part;
    const mark = document.createElement("span");
    mark.className = "unseen";
    mark.textContent = `U+${part.codePointAt(0).toString(16).toUpperCase().padStart(4, "0")}`;
    return mark;
  });
}

/** Milliseconds for people: number and unit apart. */
function duration(ms) {
  if (ms === null || ms === undefined) return ["–", ""];
  if (ms < 0.05) return ["<\u20090.1", "ms"];
  if (ms < 10) return [ms.toFixed(1), "ms"];
  if (ms < 1_000) return [ms.toFixed(0), "ms"];
  if (ms < 100_000) return [(ms / 1_000).toFixed(ms < 10_000 ? 1 : 0), "s"];
  if (ms < 7_200_000) return [(ms / 60_000).toFixed(0), "min"];
  return [(ms / 3_600_000).toFixed(0), "h"];
}

/** A time of today, or with its day. */
function moment(ms) {
  const isToday = new Date(ms).toDateString() === new Date().toDateString();
  return isToday
    ? clock(ms, true)
    : `${new Date(ms).toLocaleDateString([], { month: "short", day: "numeric" })} ${clock(ms)}`;
}

function clock(ms, seconds = false) {
  return new Date(ms).toLocaleTimeString([], {
    hour: "2-digit",
    minute: "2-digit",
    hourCycle: "h23",
    ...(seconds && { second: "2-digit" }),
  });
}

const [SECOND, MINUTE, HOUR] = [1_000, 60_000, 3_600_000];
/** Milliseconds a scale may end with: these and their halves are round in the unit they are shown in. */
const TOPS = [
  ...[1, 2, 5, 10, 20, 50, 100, 200, 500],
  ...[1, 2, 5, 10, 20].map((count) => count * SECOND),
  ...[1, 2, 4, 10, 20, 60].map((count) => count * MINUTE),
  ...[2, 4, 10].map((count) => count * HOUR),
];

/** The first end of a scale that is not below `value`. */
function niceAbove(value) {
  return TOPS.find((top) => top >= value * 0.999) ?? Math.ceil(value / HOUR / 2) * 2 * HOUR;
}

const MARGIN = { left: 46, right: 10, top: 8, bottom: 20 };
const HEIGHT = 190;

/** Where the points of `series` are on a plot `width` wide, and where a duration is. */
function scaleOf(series, width, target) {
  const seen = Math.max(0, ...series.map(({ p95 }) => p95 ?? 0));
  const most = seen === 0 ? target : Math.max(1, seen);
  const top = niceAbove(most * 1.05);
  const inner = { width: width - MARGIN.left - MARGIN.right, height: HEIGHT - MARGIN.top - MARGIN.bottom };
  return {
    top,
    x: (i) => MARGIN.left + (i / (series.length - 1)) * inner.width,
    y: (ms) => MARGIN.top + (1 - ms / top) * inner.height,
    at: (x) => Math.round(((x - MARGIN.left) / inner.width) * (series.length - 1)),
  };
}

/** Runs of neighbouring points that have a value. */
function runsOf(series, name) {
  const runs = [];
  let isOpen = false;
  for (const [i, point] of series.entries()) {
    const isThere = point[name] !== null;
    if (isThere && isOpen) runs.at(-1).push(i);
    else if (isThere) runs.push([i]);
    isOpen = isThere;
  }
  return runs;
}

function axes(series, scale, width) {
  const marks = [];
  for (const share of [0, 0.5, 1]) {
    const y = scale.y(scale.top * share);
    marks.push(svg("line", { class: "grid", x1: MARGIN.left, x2: width - MARGIN.right, y1: y, y2: y }));
    const label = share === 0 ? "0" : duration(scale.top * share).join(" ");
    marks.push(svg("text", { x: MARGIN.left - 6, y: y + 4, "text-anchor": "end" }, label.replace(".0 ", " ")));
  }
  const quarters = width < 420 ? [0, 60, series.length - 1] : [0, 30, 60, 90, series.length - 1];
  for (const i of quarters) {
    const anchor = i === 0 ? "start" : i === series.length - 1 ? "end" : "middle";
    const label = i === series.length - 1 ? "now" : clock(series[i].at);
    marks.push(svg("text", { x: scale.x(i), y: HEIGHT - 4, "text-anchor": anchor }, label));
  }
  return marks;
}

function lines(series, scale) {
  const path = (run, name) => run.map((i) => `${scale.x(i).toFixed(1)},${scale.y(series[i][name]).toFixed(1)}`);
  const drawn = [];
  for (const run of runsOf(series, "p95")) {
    const points = path(run, "p95");
    if (run.length === 1) {
      drawn.push(svg("circle", { class: "dot", cx: scale.x(run[0]), cy: scale.y(series[run[0]].p95), r: 2.25 }));
      continue;
    }
    const [left, right, floor] = [scale.x(run[0]), scale.x(run.at(-1)), scale.y(0)];
    drawn.push(svg("polygon", { class: "area", points: `${left},${floor} ${points.join(" ")} ${right},${floor}` }));
    drawn.push(svg("polyline", { class: "p95", points: points.join(" ") }));
    drawn.push(svg("polyline", { class: "p50", points: path(run, "p50").join(" ") }));
  }
  return drawn;
}

/** Draws `series` into the figure `host`. */
function drawPlot(host, { title, series, target, empty, note = "" }) {
  const width = Math.max(280, host.clientWidth - 36);
  const scale = scaleOf(series, width, target);
  const total = series.reduce((sum, { count }) => sum + count, 0);
  const readout = el("span", { class: "readout" }, total === 0 ? "" : `${total.toLocaleString()} transactions`);
  const cursor = svg("line", { class: "cursor", y1: MARGIN.top, y2: HEIGHT - MARGIN.bottom, visibility: "hidden" });
  const worst = series.reduce((most, { p95 }) => Math.max(most, p95 ?? 0), 0);
  const label = total === 0 ? `${title}: ${empty}` : `${title}: 95th percentile at most ${duration(worst).join(" ")}`;
  const canvas = svg(
    "svg",
    {
      viewBox: `0 0 ${width} ${HEIGHT}`,
      class: "plot",
      role: "img",
      "aria-label": label,
      tabindex: 0,
      "data-focus": title,
    },
    axes(series, scale, width),
    lines(series, scale),
  );
  const isInside = target <= scale.top;
  if (isInside) {
    const y = scale.y(target);
    canvas.append(svg("line", { class: "goal", x1: MARGIN.left, x2: width - MARGIN.right, y1: y, y2: y }));
  }
  canvas.append(cursor);
  let at = series.length - 1;
  const show = (i) => {
    at = Math.min(series.length - 1, Math.max(0, i));
    const { at: time, count, p50, p95 } = series[at];
    for (const end of ["x1", "x2"]) cursor.setAttribute(end, scale.x(at));
    cursor.setAttribute("visibility", "visible");
    const figures = count === 0 ? "none" : `${count} · p50 ${duration(p50).join(" ")} · p95 ${duration(p95).join(" ")}`;
    readout.textContent = `${clock(time, true)} · ${figures}`;
  };
  canvas.addEventListener("pointermove", (event) => {
    const box = canvas.getBoundingClientRect();
    show(scale.at(((event.clientX - box.left) / box.width) * width));
  });
  canvas.addEventListener("keydown", (event) => {
    const step = { ArrowLeft: -1, ArrowRight: 1, PageUp: -10, PageDown: 10 }[event.key];
    if (step === undefined) return;
    event.preventDefault();
    show(at + step);
  });
  const goal = `Target: 95 % under ${duration(target).join(" ").replace(".0 ", " ")}${isInside ? " (red)" : ", above this scale"}.`;
  const caption = total === 0 ? empty : `Line: p95, dotted: p50. ${goal}${note}`;
  host.replaceChildren(el("header", {}, title, readout), canvas, el("figcaption", {}, caption));
}
