// The plot of all models on the chosen axes: hover or focus for all figures, click or Enter to pick.
const SHAPE = { radius: 15, least: 5 };
const plotBox = make("div", { class: "plot" });
const plotNote = make("figcaption", { id: "explorer-plot-note" });
const tip = make("div", { class: study.columns.length > 14 ? "tip large" : "tip", role: "tooltip", id: "explorer-tip", hidden: true });
let pointed = null; // the marker that the tip is about

const better = (column) => ({ high: ", higher is better", low: ", lower is better" })[column.better] || "";
const axisTitle = (column, drawn) => `${titled(column)}${better(column)}${drawn.logarithmic ? " (log)" : ""}`;
const drawable = (row) => axes().every(({ key }) => Number.isFinite(row.figures.get(key)?.value));
const spoken = (row, keys) =>
  keys.map((column) => `${column.heading} ${withUnit(row.figures.get(column.key)?.text ?? "–", column)}`).join(", ");

// Ends of a figure's bar; a figure without an interval has none.
const span = ({ value, low, high }) => [low ?? value, high ?? value];

function drawPlot() {
  const chosen = front();
  const [x, y, area] = [columns.get(state.x), columns.get(state.y), columns.get(state.area)];
  const shown = rows.filter(drawable);
  const width = Math.max(300, plotBox.clientWidth || 640);
  const height = width < 500 ? 380 : 460;
  const box = { left: 52, right: width - 12, top: 30, bottom: height - 44 };
  if (!shown.length) {
    redraw(plotBox, [make("p", {}, "No model has a figure on each of these axes.")]);
    plotNote.textContent = "";
    return;
  }
  const values = (column) => shown.flatMap((row) => {
    const figure = row.figures.get(column.key);
    return [figure.value, ...span(figure)];
  });
  const across = axis(values(x), box.left, box.right);
  const up = axis(values(y), box.bottom, box.top);
  const largest = area ? Math.max(...shown.map((row) => row.figures.get(area.key).value)) : 0;
  const radius = (row) => {
    const share = largest > 0 ? Math.max(row.figures.get(area.key).value, 0) / largest : 1 / 6;
    return Math.max(SHAPE.radius * Math.sqrt(share), SHAPE.least);
  };
  const places = new Map(shown.map((row) => {
    const [a, b] = [row.figures.get(x.key), row.figures.get(y.key)];
    return [row.name, { cx: across.at(a.value), cy: up.at(b.value), r: radius(row), bars: [
      [...span(a).map(across.at), up.at(b.value), up.at(b.value)],
      [across.at(a.value), across.at(a.value), ...span(b).map(up.at)],
    ] }];
  }));
  // Small markers stand above large ones, so that each can be hit; arrow keys go from left to right.
  const order = [...shown].sort((a, b) => places.get(b.name).r - places.get(a.name).r);
  const walk = [...shown].sort((a, b) => places.get(a.name).cx - places.get(b.name).cx);
  const entry = places.has(state.picked) ? state.picked : walk[0].name;
  const points = order.map((row) => point(row, places.get(row.name), {
    fits: !misses(row).length, best: chosen.has(row.name), walk, entry,
  }));
  const svg = make("svg", {
    viewBox: `0 0 ${width} ${height}`, role: "group", "aria-label": `${y.heading} against ${x.heading}`,
    "aria-describedby": "explorer-plot-note",
  }, ...frame(across, up, box, [axisTitle(x, across), axisTitle(y, up)]), ...points, ...labels(walk, places, chosen, box));
  redraw(plotBox, [svg]);
  plotNote.textContent = plotCaption(chosen, area, shown);
}

function point(row, place, { fits, best, walk, entry }) {
  const step = (shift) => {
    const next = walk[walk.indexOf(row) + shift];
    if (next) plotBox.querySelector(`[data-focus="${CSS.escape(next.name)}"]`).focus();
  };
  const keys = {
    ArrowRight: () => step(1), ArrowUp: () => step(1), ArrowLeft: () => step(-1), ArrowDown: () => step(-1),
    Enter: () => pick(row.name), " ": () => pick(row.name), Escape: hideTip,
  };
  return make("g", {
    class: `point ${color(row)} ${best ? "best" : ""} ${fits ? "" : "out"} ${row.name === state.picked ? "picked" : ""}`,
    tabindex: row.name === entry ? 0 : -1, role: "button", "data-focus": row.name, "data-row": row.name,
    "aria-pressed": String(row.name === state.picked), "aria-describedby": "explorer-tip",
    "aria-label": `${row.name}: ${spoken(row, axes())}${best ? ", on the Pareto front" : ""}${fits ? "" : ", does not fit"}`,
    onclick: () => pick(row.name), onmouseenter: (event) => showTip(row, event.currentTarget), onmouseleave: hideTip,
    onfocus: (event) => showTip(row, event.currentTarget), onblur: hideTip,
    onkeydown: (event) => {
      if (!keys[event.key]) return;
      event.preventDefault();
      keys[event.key]();
    },
  },
  ...place.bars.map(([x1, x2, y1, y2]) => make("line", { class: "bar", x1, x2, y1, y2 })),
  make("circle", { class: "target", cx: place.cx, cy: place.cy, r: Math.max(place.r, 12) }),
  make("circle", { class: "mark", cx: place.cx, cy: place.cy, r: place.r }));
}

// Names beside the picked model and those on the front, where they cover neither a marker nor each other.
function labels(walk, places, chosen, box) {
  const taken = [...places.values()].map(({ cx, cy, r }) => [cx - r, cy - r, cx + r, cy + r]);
  const free = (a) => a[0] >= box.left && a[2] <= box.right && a[1] >= box.top - 8 && a[3] <= box.bottom
    && !taken.some((b) => Math.min(a[2], b[2]) > Math.max(a[0], b[0]) && Math.min(a[3], b[3]) > Math.max(a[1], b[1]));
  const first = (row) => (row.name === state.picked ? 0 : 1);
  const named = walk.filter((row) => chosen.has(row.name) || row.name === state.picked);
  return named.sort((a, b) => first(a) - first(b)).flatMap((row) => {
    const { cx, cy, r } = places.get(row.name);
    const wide = row.name.length * 7;
    const tries = [[cx + r + 4, cy + 4], [cx - r - 4 - wide, cy + 4], [cx - wide / 2, cy - r - 5],
      [cx - wide / 2, cy + r + 13], [cx + r, cy - r - 3], [cx - r - wide, cy - r - 3], [cx + r, cy + r + 11]];
    const spot = tries.map(([left, base]) => [left, base - 10, left + wide, base + 3]).find(free);
    if (!spot) return [];
    taken.push(spot);
    return [make("text", { class: "label", x: spot[0], y: spot[3] - 3 }, row.name)];
  });
}

function plotCaption(chosen, area, shown) {
  const hidden = rows.filter((row) => !shown.includes(row)).map((row) => row.name);
  const keys = judged().map((column) => column.heading).join(", ");
  const more = hidden.length > 5 ? ` and ${hidden.length - 5} more` : "";
  return [
    keys && `Filled: on the Pareto front. No other model that fits is as good in all of ${keys} and better in one.`,
    bounds().length && "Faint: does not fit the budgets.",
    area && `Area: ${area.heading}${better(area)}.`,
    "Bars are 95 % intervals.",
    hidden.length && `Not drawn, because a figure is missing: ${hidden.slice(0, 5).join(", ")}${more}.`,
  ].filter(Boolean).join(" ");
}

function showTip(row, anchor) {
  const missed = misses(row);
  tip.replaceChildren(
    make("b", {}, row.name),
    make("p", { class: "muted" }, [groupOf(row), missed.length ? missed.join("; ") : ""].filter(Boolean).join(" · ")),
    figureList(row),
  );
  tip.hidden = false;
  pointed = anchor.querySelector(".mark");
  placeTip();
}

// Beside the marker, inside the window: also while the page scrolls, as it does when the keyboard reaches a point.
function placeTip() {
  if (tip.hidden || !pointed) return;
  const [at, size] = [pointed.getBoundingClientRect(), tip.getBoundingClientRect()];
  const [wide, tall] = [document.documentElement.clientWidth, window.innerHeight];
  const left = at.right + 12 + size.width <= wide ? at.right + 12 : at.left - 12 - size.width;
  tip.style.left = `${Math.max(4, Math.min(left, wide - size.width - 4))}px`;
  tip.style.top = `${Math.max(4, Math.min(at.top - 20, tall - size.height - 4))}px`;
}

function hideTip() {
  tip.hidden = true;
}
