// The picked model: all of its figures, its curves, its costs, and the command that makes it again.
const panel = make("section", { class: "panel", id: "explorer-panel", "aria-live": "polite" });
const exhibits = make("div", { class: "exhibits" });

function figureList(row) {
  const items = study.columns.flatMap((column) => {
    const figure = row.figures.get(column.key);
    if (!figure) return [];
    const text = [withUnit(figure.text, column), figure.unresolved && "†"].filter(Boolean).join(" ");
    const small = [figure.ends, figure.published && `[${figure.published}]`].filter(Boolean).join(" ");
    return [make("div", {}, make("dt", {}, column.heading), make("dd", {},
      make("b", {}, text), make("small", {}, ` ${small} `), make("abbr", { title: figure.kind }, study.letters[figure.kind])))];
  });
  return make("dl", { class: "figures" }, ...items);
}

function drawPanel() {
  const row = byName.get(state.picked);
  if (!row) {
    redraw(panel, [make("p", {}, "Pick a model: a point of the plot, or a name in the table.")]);
    exhibits.replaceChildren();
    return;
  }
  const missed = misses(row);
  const verdict = bounds().length
    ? make("p", { class: missed.length ? "verdict out" : "verdict" },
      missed.length ? `Does not fit: ${missed.join("; ")}.` : "Fits all budgets.")
    : null;
  exhibits.replaceChildren(...[rocChart(row), reliabilityChart(row), costBars(row)].filter(Boolean));
  redraw(panel, [
    make("h3", {}, make("span", { class: `swatch ${color(row)}` }), row.name),
    groupOf(row) || row.note ? make("p", { class: "muted" }, [groupOf(row), row.note].filter(Boolean).join(" · ")) : null,
    verdict,
    commandOf(row),
    figureList(row),
    make("p", { class: "muted letters" }, lettersOf(row)),
  ].filter(Boolean));
}

// Says what the letters behind the figures stand for.
function lettersOf(row) {
  const kinds = new Set([...row.figures.values()].map((figure) => figure.kind));
  return Object.entries(study.letters).filter(([kind]) => kinds.has(kind)).map(([kind, letter]) => `${letter} ${kind}`)
    .join(", ");
}

// A command's words, each of which stays on one line if it fits: a browser would break "--models=3" behind its dashes.
const words = (text) => text.split(" ").flatMap((word, i) => [i ? " " : "", make("span", { class: "word" }, word)]);

function commandOf(row) {
  const command = row.command || study.command;
  if (!command) return make("p", { class: "muted" }, "The study does not record the command that makes this model.");
  const code = make("code", { id: "explorer-command", tabindex: 0 }, ...words(command));
  const copy = make("button", { type: "button", "data-focus": "copy", onclick: async () => {
    try {
      await navigator.clipboard.writeText(command);
      copy.textContent = "Copied";
    } catch {
      window.getSelection().selectAllChildren(code); // without the right to the clipboard, the text is ready to copy
      copy.textContent = "Selected";
    }
  } }, "Copy");
  const heading = row.command ? "Make it again" : "Make the whole study again";
  return make("div", { class: "command" }, make("div", {}, make("h4", {}, heading), copy), make("pre", {}, code));
}

function pick(name) {
  state.picked = name;
  update();
}
