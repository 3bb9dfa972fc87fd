// What a person chooses: axes, budgets, columns; and the sentence that says what came of it.
const status = make("p", { class: "status", role: "status", id: "explorer-status" });
const SHORT_WORDS = { flash: "at most", ram: "at most" };

const option = (value, text, selected) => make("option", { value, selected }, text);

function axisSelect(name, text, optional) {
  const options = study.columns.map((column) => option(column.key, titled(column), column.key === state[name]));
  const none = optional ? [option("", "none", state[name] === "")] : [];
  return make("label", {}, text, make("select", { id: `explorer-${name}`, onchange: (event) => {
    state[name] = event.target.value;
    update();
  } }, ...none, ...options));
}

function budgetField(budget) {
  const unit = make("span", { class: "unit" });
  const showUnit = () => { unit.textContent = columns.get(state.keys[budget.role]).unit; };
  const side = SHORT_WORDS[budget.role] || (budget.sense === "low" ? "at most" : "at least");
  const field = make("input", { type: "number", step: "any", inputmode: "decimal", id: `explorer-limit-${budget.role}`,
    value: state.limits[budget.role], "aria-label": `${budget.label}, ${side}`, oninput: (event) => {
      state.limits[budget.role] = event.target.value;
      update();
    } });
  showUnit();
  const select = budget.keys.length === 1
    ? make("span", { class: "which" }, columns.get(budget.keys[0]).heading)
    : make("select", { id: `explorer-column-${budget.role}`, "aria-label": `${budget.label}: which column`,
      onchange: (event) => {
        field.value = state.limits[budget.role] = converted(budget.role, event.target.value);
        state.keys[budget.role] = event.target.value;
        showUnit();
        update();
      } },
    ...budget.keys.map((key) => option(key, columns.get(key).heading, key === state.keys[budget.role])));
  return make("div", { class: "budget" }, make("span", { class: "name" }, `${budget.label}, ${side}`),
    make("span", { class: "entry" }, field, unit), select);
}

// Returns a budget's limit in the unit of another column; "" if it is no size of bytes there, and so another quantity.
function converted(role, key) {
  const [from, to, text] = [columns.get(state.keys[role]), columns.get(key), state.limits[role]];
  if (text.trim() === "" || from.unit === to.unit) return text;
  return from.scale && to.scale ? String(Number((Number(text) * from.scale / to.scale).toPrecision(12))) : "";
}

function deviceSelect() {
  const inBytes = study.budgets.filter((budget) => budget.keys.every((key) => columns.get(key).scale));
  const roles = inBytes.map((budget) => budget.role);
  const devices = study.devices.filter((device) => Object.keys(device.bytes).every((role) => roles.includes(role)));
  if (!devices.length) return null;
  const choose = (event) => {
    const device = devices[event.target.value];
    for (const role of ["flash", "ram"]) {
      const bytes = device ? device.bytes[role] : undefined;
      const text = bytes === undefined ? "" : String(bytes / columns.get(state.keys[role]).scale);
      state.limits[role] = text;
      document.getElementById(`explorer-limit-${role}`).value = text;
    }
    update();
  };
  return make("label", {}, "Device", make("select", { id: "explorer-device", onchange: choose },
    option("", "any", true), ...devices.map((device, i) => option(String(i), device.name, false))));
}

function columnChooser() {
  const boxes = study.columns.map((column) => make("label", {}, make("input", { type: "checkbox", value: column.key,
    checked: state.shown.includes(column.key), onchange: (event) => {
      const others = state.shown.filter((key) => key !== column.key);
      state.shown = event.target.checked ? [...others, column.key] : others;
      update();
    } }), titled(column)));
  return make("details", { class: "chooser" }, make("summary", {}, "Columns of the table"), make("div", {}, ...boxes));
}

function controls() {
  const worst = make("label", { class: "check" }, make("input", { type: "checkbox", id: "explorer-worst",
    checked: state.worst, onchange: (event) => {
      state.worst = event.target.checked;
      update();
    } }), "judge by the worse end of the 95 % interval");
  const reset = make("button", { type: "button", id: "explorer-reset", onclick: () => {
    for (const field of home.querySelectorAll(".budget input")) field.value = "";
    for (const role of Object.keys(state.limits)) state.limits[role] = "";
    const device = document.getElementById("explorer-device");
    if (device) device.value = "";
    update();
  } }, "Clear budgets");
  return make("div", { class: "controls" },
    make("fieldset", { class: "axes" }, make("legend", {}, "Axes"), axisSelect("x", "Horizontal", false),
      axisSelect("y", "Vertical", false), axisSelect("area", "Area", true)),
    make("fieldset", {}, make("legend", {}, "Budgets"), deviceSelect(), ...study.budgets.map(budgetField), worst, reset));
}

function drawStatus() {
  const fitting = rows.filter((row) => !misses(row).length);
  const best = front();
  const all = `${rows.length} ${rows.length === 1 ? "model" : "models"}`;
  const fit = fitting.length === 1 ? "fits" : "fit";
  const on = `${best.size} ${best.size === 1 ? "is" : "are"} on the Pareto front.`;
  let said = `None of ${all} fits the budgets. ${closest()}`;
  if (!bounds().length) said = `Of ${all}, ${on}`;
  else if (fitting.length) said = `${fitting.length} of ${all} ${fit} the budgets; ${on}`;
  status.textContent = [...impossible(), said].join(" ");
}

// Says which limits are left out, and marks their fields.
function impossible() {
  const out = written().filter((bound) => !isPossible(bound));
  for (const { role } of study.budgets) {
    const field = document.getElementById(`explorer-limit-${role}`);
    field?.setAttribute("aria-invalid", String(out.some((bound) => bound.role === role)));
  }
  return out.map(({ column, text }) => {
    const { highest } = column;
    const ends = highest === null ? "at least 0" : `${withUnit(`0 to ${brief(highest)}`, column)}, a rate`;
    return `The limit ${withUnit(text, column)} of ${column.heading} is left out: give ${ends}.`;
  });
}

// Says which budgets fail by themselves and how near the nearest model is, since they are the first to change.
function closest() {
  const alone = bounds().flatMap((bound) => {
    const known = rows.filter((row) => row.figures.get(bound.column.key)?.counts);
    const missed = (row) => excess(row.figures.get(bound.column.key), bound);
    if (!known.length) return [`No model has a figure for ${bound.column.heading}.`];
    const nearest = known.reduce((a, b) => (missed(b) < missed(a) ? b : a));
    if (!(missed(nearest) > 0)) return [];
    return [`${bound.column.heading}: ${nearest.name} misses it least, by ${gap(missed(nearest), bound.column)}.`];
  });
  return alone.join(" ") || "Each budget can be kept to, but not all together.";
}
