// The table of chosen columns: on a phone each row is a card. Those that fit come first.
const tableBox = make("div", { class: "scroll", role: "region", "aria-label": "Table of models", tabindex: 0 });

function sorted() {
  const column = columns.get(state.sort);
  const value = (row) => row.figures.get(state.sort)?.value ?? NaN;
  const fits = new Map(rows.map((row) => [row.name, misses(row).length ? 1 : 0]));
  const by = (a, b) => {
    if (!column) return a.index - b.index;
    const [left, right] = [value(a), value(b)];
    if (Number.isNaN(left) || Number.isNaN(right)) return Number.isNaN(left) - Number.isNaN(right) || a.index - b.index;
    return (state.down ? right - left : left - right) || a.index - b.index;
  };
  return [...rows].sort((a, b) => fits.get(a.name) - fits.get(b.name) || by(a, b));
}

function drawTable() {
  const shown = study.columns.filter((column) => state.shown.includes(column.key));
  const [chosen, bounded] = [front(), bounds().length > 0];
  const head = make("tr", {}, make("th", { scope: "col" }, "Model"), bounded ? make("th", { scope: "col" }, "Budgets") : null,
    ...shown.map(headOf));
  const body = sorted().map((row) => {
    const missed = misses(row);
    const star = chosen.has(row.name) ? make("abbr", { title: "on the Pareto front of the plot" }, "★ ") : null;
    const name = make("button", { type: "button", "data-focus": `row ${row.name}`, "data-row": row.name,
      "aria-pressed": String(row.name === state.picked), onclick: () => pick(row.name) }, row.name);
    const swatch = make("span", { class: `swatch ${color(row)}` });
    const group = groupOf(row) ? make("small", {}, groupOf(row)) : null;
    const verdict = missed.length ? missed.join("; ") : "fits";
    return make("tr", { class: `${missed.length ? "out" : ""} ${row.name === state.picked ? "picked" : ""}` },
      make("th", { scope: "row" }, make("div", { class: "named" }, swatch, star, name), group),
      bounded ? make("td", { class: "verdict" }, make("span", { class: "label" }, "Budgets"), verdict) : null,
      ...shown.map((column) => cellOf(row, column)));
  });
  redraw(tableBox, [make("table", { id: "explorer-table" }, make("thead", {}, head), make("tbody", {}, ...body))]);
}

function headOf(column) {
  const active = state.sort === column.key;
  const arrow = { high: "↑", low: "↓" }[column.better];
  const hint = arrow ? make("abbr", { title: `${column.better === "high" ? "higher" : "lower"} is better` }, arrow) : null;
  const button = make("button", { type: "button", "data-focus": `sort ${column.key}`, onclick: () => {
    state.down = active ? !state.down : column.better !== "low";
    state.sort = column.key;
    update();
  } }, column.heading, active ? make("span", { "aria-hidden": true }, state.down ? " ▾" : " ▴") : null);
  const order = active ? (state.down ? "descending" : "ascending") : null;
  return make("th", { scope: "col", "aria-sort": order }, button, make("small", {}, column.unit ? `${column.unit} ` : "", hint));
}

function cellOf(row, column) {
  const figure = row.figures.get(column.key);
  const label = make("span", { class: "label", "aria-hidden": true }, titled(column));
  if (!figure) return make("td", { class: "none" }, label, "–");
  const mark = figure.unresolved ? make("abbr", { title: study.unresolved }, " †") : null;
  const published = figure.published ? make("small", {}, `[${figure.published}]`) : null;
  return make("td", { title: spokenFigure(figure, column) }, label, make("b", {}, figure.text), mark,
    figure.ends ? make("small", {}, figure.ends) : null, published);
}

function spokenFigure(figure, column) {
  const interval = figure.low === null ? "" : `; 95 % interval ${brief(figure.low)} to ${brief(figure.high)}`;
  const count = figure.n === null ? "" : `; n = ${figure.n.toLocaleString("en-US")}`;
  return `${figure.kind}: ${withUnit(figure.text, column)}${interval}${count}`;
}
