// The study, what a person chose, and what follows from both: which models fit, and which are on the Pareto front.
const NUMBERS = { nan: NaN, inf: Infinity, "-inf": -Infinity };
const number = (value) => (typeof value === "string" ? NUMBERS[value] : value);
const study = JSON.parse(document.getElementById("explorer-data").textContent);
const home = document.getElementById("explorer");
const columns = new Map(study.columns.map((column) => [column.key, column]));
const rows = study.rows.map((row, index) => ({ ...row, index, figures: new Map() }));
rows.forEach((row, index) => {
  for (const [key, [value, low, high, ...rest]] of Object.entries(study.rows[index].figures)) {
    const [text, ends, kind, n, published, unresolved] = rest;
    const figure = { value: number(value), low: number(low), high: number(high), text, ends, kind, n, published };
    row.figures.set(key, { ...figure, unresolved, counts: !unresolved && !Number.isNaN(figure.value) });
  }
});
const byName = new Map(rows.map((row) => [row.name, row]));
const groups = [...new Set(rows.map((row) => row.group))];
const colored = groups.length > 1 && groups.length <= 8 ? "group" : "row";
const color = (row) => `c${(colored === "group" ? groups.indexOf(row.group) : row.index) % 8}`;

const state = {
  ...{ x: study.axes[0], y: study.axes[1], area: study.axes[2] || "", worst: false, sort: "", down: false },
  limits: Object.fromEntries(study.budgets.map((budget) => [budget.role, ""])),
  // A budget begins with the column of its kind that is an axis, so that a person bounds what the plot shows.
  keys: Object.fromEntries(
    study.budgets.map(({ role, keys }) => [role, keys.find((key) => study.axes.includes(key)) ?? keys[0]]),
  ),
  shown: study.shown,
  picked: null,
};

const startKeys = { ...state.keys };
const groupOf = (row) => (row.name.startsWith(row.group) ? "" : row.group); // a name that has its group says it once
const withUnit = (text, column) => (column.unit ? `${text} ${column.unit}` : text);
const gap = (value, column) => withUnit(brief(value), column.unit === "%" ? { unit: "points" } : column);
const titled = (column) => (column.unit ? `${column.heading}, ${column.unit}` : column.heading);
const brief = (value) => Number(value.toPrecision(3)).toLocaleString("en-US", { maximumFractionDigits: 9 });

// Returns the budgets with a number in their field.
function written() {
  return study.budgets
    .map((budget) => ({ ...budget, column: columns.get(state.keys[budget.role]), text: state.limits[budget.role] }))
    .filter((bound) => bound.text.trim() !== "" && Number.isFinite(Number(bound.text)))
    .map((bound) => ({ ...bound, limit: Number(bound.text) }));
}

// Tells whether a model can be at a limit: none has less than nothing, and no rate is above 1.
const isPossible = ({ limit, column }) => limit >= 0 && limit <= (column.highest ?? Infinity);

// Returns the budgets that hold.
const bounds = () => written().filter(isPossible);

// Returns how far a figure is on the wrong side of a budget; 0 or less if it keeps to it.
function excess(figure, { sense, limit }) {
  const end = sense === "low" ? figure.high : figure.low;
  const value = state.worst && end !== null && !Number.isNaN(end) ? end : figure.value;
  return sense === "low" ? value - limit : limit - value;
}

// Returns what a model misses: [] if it fits. A figure that is absent or not resolved misses every budget of its column.
function misses(row) {
  return bounds().flatMap((bound) => {
    const { column, sense } = bound;
    const figure = row.figures.get(column.key);
    if (!figure || !figure.counts) return [`${column.heading}: no figure`];
    const missed = excess(figure, bound);
    return missed > 0 ? [`${column.heading} ${sense === "low" ? "+" : "−"}${gap(missed, column)}`] : [];
  });
}

const axes = () => [...new Set([state.x, state.y, state.area])].filter((key) => key).map((key) => columns.get(key));
const judged = () => axes().filter((column) => column.better);

// Returns the names of the models that fit and that no other one beats on the axes that have a better end.
function front() {
  const keys = judged();
  const points = rows
    .filter((row) => !misses(row).length && keys.every(({ key }) => row.figures.get(key)?.counts))
    .map((row) => [row.name, keys.map(({ key, better }) => row.figures.get(key).value * (better === "high" ? 1 : -1))]);
  const beats = (a, b) => a.every((value, i) => value >= b[i]) && a.some((value, i) => value > b[i]);
  if (!keys.length) return new Set();
  return new Set(points.filter(([, b]) => !points.some(([, a]) => beats(a, b))).map(([name]) => name));
}

// Makes an element: attributes, then children; text is never read as markup.
function make(tag, attributes = {}, ...children) {
  const svg = ["svg", "g", "path", "line", "circle", "rect", "text", "title"].includes(tag);
  const element = svg ? document.createElementNS("http://www.w3.org/2000/svg", tag) : document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (value === true) element.setAttribute(name, "");
    else if (value !== false && value !== null && value !== undefined) element.setAttribute(name, value);
  }
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

// Draws a part again; the keyboard stays where it was.
function redraw(container, children) {
  const focused = container.contains(document.activeElement) ? document.activeElement.dataset.focus : undefined;
  container.replaceChildren(...children);
  if (focused !== undefined) container.querySelector(`[data-focus="${CSS.escape(focused)}"]`)?.focus();
}
