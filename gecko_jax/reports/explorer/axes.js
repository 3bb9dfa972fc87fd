// Axes of a chart: positions and ticks, linear or logarithmic.
const TEXT = 12;

// Returns {at, ticks, logarithmic} that map values onto pixels from `start` to `end`.
function axis(values, start, end, ends = null) {
  const finite = values.filter(Number.isFinite);
  const positive = finite.filter((value) => value > 0);
  const logarithmic = ends ? ends.logarithmic
    : positive.length === finite.length && Math.max(...positive) > 30 * Math.min(...positive);
  const bent = (value) => (logarithmic ? Math.log10(value) : value);
  let [low, high] = ends ? [bent(ends.low), bent(ends.high)] : [bent(Math.min(...finite)), bent(Math.max(...finite))];
  if (!ends) {
    const pad = 0.07 * (high - low) || Math.abs(high) * 0.05 || 1;
    [low, high] = [low - pad, high + pad];
  }
  const clipped = (value) => Math.min(Math.max(value <= 0 && logarithmic ? low : bent(value), low), high);
  const at = (value) => start + ((clipped(value) - low) / (high - low)) * (end - start);
  return { at, logarithmic, ticks: logarithmic ? decades(low, high) : steps(low, high, Math.abs(end - start)) };
}

function decades(low, high) {
  const few = high - low > 2.5 ? [1] : high - low > 1 ? [1, 3] : [1, 2, 5];
  const ticks = [];
  for (let power = Math.floor(low); power <= high; power += 1)
    for (const digit of few) {
      const value = Number(`${digit}e${power}`);
      if (Math.log10(value) >= low - 1e-9 && Math.log10(value) <= high + 1e-9) ticks.push(value);
    }
  return ticks;
}

function steps(low, high, pixels) {
  const wanted = (high - low) / Math.max(2, Math.min(7, pixels / 70));
  const power = 10 ** Math.floor(Math.log10(wanted));
  const step = [1, 2, 5, 10].find((digit) => digit * power >= wanted) * power;
  const ticks = [];
  for (let i = Math.ceil(low / step); i * step <= high + 1e-12; i += 1) ticks.push(Number((i * step).toPrecision(10)));
  return ticks;
}

const tickText = (value) => value.toLocaleString("en-US", { maximumSignificantDigits: 6 });

// Returns the grid, the ticks' numbers and the frame of a chart; numbers that would touch the next one are left out.
function frame(across, up, box, titles) {
  const parts = [];
  let last = -Infinity;
  for (const value of across.ticks) {
    const x = across.at(value);
    const half = tickText(value).length * 3.6;
    parts.push(make("line", { class: "grid", x1: x, x2: x, y1: box.top, y2: box.bottom }));
    if (x - half < last + 8) continue;
    last = x + half;
    parts.push(make("text", { x, y: box.bottom + 16, "text-anchor": "middle" }, tickText(value)));
  }
  for (const value of up.ticks) {
    const y = up.at(value);
    parts.push(make("line", { class: "grid", x1: box.left, x2: box.right, y1: y, y2: y }));
    parts.push(make("text", { x: box.left - 6, y: y + 4, "text-anchor": "end" }, tickText(value)));
  }
  parts.push(make("path", { class: "frame", d: `M${box.left} ${box.top}V${box.bottom}H${box.right}` }));
  parts.push(make("text", { class: "axis-title", x: 0, y: 13 }, titles[1]));
  parts.push(
    make("text", { class: "axis-title", x: box.right, y: box.bottom + 35, "text-anchor": "end" }, titles[0]),
  );
  return parts;
}
