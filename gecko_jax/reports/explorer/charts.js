// What is drawn of a picked model: its ROC curves, its reliability diagram and the parts of its costs.
const CHART = { width: 320, height: 290, left: 52, top: 24, right: 310, bottom: 246 };

const line = (points) => points.map(([x, y], i) => `${i ? "L" : "M"}${x.toFixed(1)} ${y.toFixed(1)}`).join("");

// A detector has the lower point's rate up to the next point: steps, not slanted lines.
const stepped = (x, y) => x.flatMap((at, i) => (i ? [[at, y[i - 1]], [at, y[i]]] : [[at, y[i]]]));

function chart(title, children) {
  const { width, height } = CHART;
  return make("svg", { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": title }, ...children);
}

function rocChart(row) {
  const curves = study.curves[row.name] || [];
  if (!curves.length) return null;
  const rates = curves.flatMap((curve) => curve.x).filter((x) => x > 0);
  const low = Math.min(0.1, Math.max(1e-6, 10 ** Math.floor(Math.log10(Math.min(...rates)) + 1e-9)));
  const ends = { low, high: 1, logarithmic: true };
  const across = axis([low, 1], CHART.left, CHART.right, ends);
  const up = axis([low, 1], CHART.bottom, CHART.top, ends);
  const placed = (points) => points.map(([x, y]) => [across.at(x), up.at(y)]);
  const parts = frame(across, up, CHART, ["False-positive rate (log)", "True-positive rate (log)"]);
  parts.push(make("path", { class: "guess", d: line(placed([[low, low], [1, 1]])) }));
  curves.forEach((curve, i) => {
    if (curve.low) {
      const around = [...placed(stepped(curve.x, curve.low)), ...placed(stepped(curve.x, curve.high)).reverse()];
      parts.push(make("path", { class: `band c${i % 8}`, d: `${line(around)}Z` }));
    }
    parts.push(make("path", { class: `curve c${i % 8} d${i % 4}`, d: line(placed(stepped(curve.x, curve.y))) }));
  });
  const keys = curves.map((curve, i) => make("li", { class: `c${i % 8} d${i % 4}` }, curve.name));
  const about = "The dashed diagonal is guessing; an attack does harm where its curve rises above it, most of all at the left.";
  return exhibit(`ROC curve of ${row.name}`, chart(`ROC curves of ${row.name}`, parts), about, make("ul", { class: "keys" }, ...keys));
}

function reliabilityChart(row) {
  const bins = study.reliability[row.name];
  if (!bins) return null;
  const ends = { low: 0, high: 1, logarithmic: false };
  const across = axis([0, 1], CHART.left, CHART.right, ends);
  const up = axis([0, 1], CHART.bottom, CHART.top, ends);
  const parts = frame(across, up, CHART, ["Confidence", "Accuracy"]);
  bins.count.forEach((count, i) => {
    if (!count) return;
    const [from, to] = [across.at(bins.edges[i]) + 1, across.at(bins.edges[i + 1]) - 1];
    const [top, x] = [up.at(bins.accuracy[i]), across.at(bins.confidence[i])];
    const text = `${count.toLocaleString("en-US")} records: right ${brief(100 * bins.accuracy[i])} %, `
      + `sure ${brief(100 * bins.confidence[i])} %`;
    parts.push(make("rect", { class: "bin c0", x: from, y: top, width: to - from, height: CHART.bottom - top },
      make("title", {}, text)));
    parts.push(make("line", { class: "whisker c0", x1: x, x2: x, y1: up.at(bins.low[i]), y2: up.at(bins.high[i]) }));
    parts.push(make("circle", { class: "dot c0", cx: x, cy: top, r: 3.5 }));
  });
  parts.push(make("path", { class: "guess", d: line([[across.at(0), up.at(0)], [across.at(1), up.at(1)]]) }));
  const about = `${bins.error}. On the diagonal a model is right as often as it says; below, it is overconfident.`;
  return exhibit(`Reliability of ${row.name}`, chart(`Reliability diagram of ${row.name}`, parts), about);
}

function costBars(row) {
  const costs = study.costs[row.name] || [];
  if (!costs.length) return null;
  const lists = costs.map(({ heading, kind, total, parts }) => {
    const sum = parts.reduce((all, part) => all + part[1], 0);
    const bars = parts.map(([name, size, text]) => make("li", {},
      make("span", {}, name),
      make("span", { class: "track" }, make("span", { class: "fill", style: `width:${sum ? (100 * size) / sum : 0}%` })),
      make("b", {}, text)));
    return make("div", {}, make("h5", {}, `${heading}: ${total} (${kind})`), make("ul", { class: "bars" }, ...bars));
  });
  return exhibit(`Cost breakdown of ${row.name}`, make("div", {}, ...lists), "");
}

function exhibit(heading, body, about, below = null) {
  return make("figure", { class: "exhibit" }, make("h4", {}, heading), body, below,
    about ? make("figcaption", {}, about) : null);
}
