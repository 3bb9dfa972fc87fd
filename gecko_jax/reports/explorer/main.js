// Puts the parts on the page, and keeps the address in step with what was chosen, so that a view can be sent on.
function readAddress() {
  const address = new URLSearchParams(window.location.hash.slice(1));
  for (const name of ["x", "y", "area"])
    if (columns.has(address.get(name)) || (name === "area" && address.get(name) === "")) state[name] = address.get(name);
  for (const { role, keys } of study.budgets) {
    if (address.has(role) && Number.isFinite(Number(address.get(role)))) state.limits[role] = address.get(role);
    if (keys.includes(address.get(`${role}-column`))) state.keys[role] = address.get(`${role}-column`);
  }
  if (byName.has(address.get("model"))) state.picked = address.get("model");
  state.worst = address.get("worst") === "1";
}

function writeAddress() {
  const address = new URLSearchParams({ x: state.x, y: state.y, area: state.area });
  for (const { role } of study.budgets) {
    if (state.limits[role].trim() === "") continue;
    address.set(role, state.limits[role]);
    if (state.keys[role] !== startKeys[role]) address.set(`${role}-column`, state.keys[role]);
  }
  if (state.worst) address.set("worst", "1");
  if (state.picked) address.set("model", state.picked);
  try {
    window.history.replaceState(null, "", `#${address}`);
  } catch {
    // A page inside of another one has no address of its own.
  }
}

function drawLegend() {
  if (colored === "row") return null;
  return make("ul", { class: "keys dots" }, ...rows.filter((row, i) => rows.findIndex((r) => r.group === row.group) === i)
    .map((row) => make("li", { class: color(row) }, row.group || "other")));
}

function update() {
  drawPlot();
  drawPanel();
  drawTable();
  drawStatus();
  writeAddress();
}

readAddress();
if (!state.picked) {
  const best = rows.filter((row) => front().has(row.name) && drawable(row));
  const [height, sign] = [columns.get(state.y), columns.get(state.y).better === "low" ? 1 : -1];
  best.sort((a, b) => sign * (a.figures.get(height.key).value - b.figures.get(height.key).value));
  state.picked = best.length ? best[0].name : rows[0].name;
}
home.replaceChildren(
  controls(),
  status,
  make("div", { class: "beside" },
    make("figure", { class: "tradeoff" }, plotBox, drawLegend() ?? "", plotNote),
    panel),
  exhibits,
  columnChooser(),
  tableBox,
  make("ul", { class: "legend" }, ...study.legend.map((text) => make("li", {}, `${text}.`))),
  tip,
);
update();
let lastWidth = plotBox.clientWidth;
window.addEventListener("resize", () => {
  if (plotBox.clientWidth === lastWidth) return;
  lastWidth = plotBox.clientWidth;
  drawPlot();
});
window.addEventListener("scroll", placeTip, { passive: true });
