// Maps in rows on shared scales; two chosen ones are compared number by number.

const SETTINGS = ["sign", "percentile", "opacity", "uniform", "cmap", "block", "scale"];
const PANELS = ["_rows", "_names", "_values", "_photos", "_photo_shapes"];
const SCALES = [["row", "one a row"], ["grid", "one for all"], ["panel", "one a panel"]];
const SHARES = ["1", "5", "10", "25"].map((share) => [share, `${share} %`]);
const BINS = 48;

// --- agreement, the same numbers as agreement.py ---------------------------------------------------

/** Rank of each value, 0 for the smallest; equal values share the mean of their ranks. */
export function ranks(values) {
  const order = Uint32Array.from(values.keys()).sort((a, b) => values[a] - values[b]);
  const found = new Float64Array(values.length);
  for (let start = 0; start < order.length;) {
    let end = start + 1;
    while (end < order.length && values[order[end]] === values[order[start]]) end++;
    for (let i = start; i < end; i++) found[order[i]] = (start + end - 1) / 2;
    start = end;
  }
  return found;
}

/** Spearman's rank correlation; NaN where a map is constant. */
export function rankCorrelation(a, b) {
  const [first, second] = [ranks(a), ranks(b)];
  const mean = (a.length - 1) / 2;
  let [both, one, other] = [0, 0, 0];
  for (let i = 0; i < first.length; i++) {
    const [x, y] = [first[i] - mean, second[i] - mean];
    both += x * y;
    one += x * x;
    other += y * y;
  }
  return one && other ? both / Math.sqrt(one * other) : NaN;
}

/** Share of the features of largest |value| in one map that are among the other's. */
export function topOverlap(a, b, share) {
  if (!a.length) return NaN;
  const count = Math.max(1, Math.floor(share * a.length + 0.5));
  const top = (values) => Uint32Array.from(values.keys())
    .sort((i, k) => Math.abs(values[k]) - Math.abs(values[i]) || i - k).subarray(0, count);
  const first = new Set(top(a));
  return top(b).reduce((n, i) => n + first.has(i), 0) / count;
}

/** All numbers of two maps of one shape, over what is finite in both. */
export function agree(first, second, share) {
  const finite = first.map((value, i) => Number.isFinite(value) && Number.isFinite(second[i]) ? 1 : 0);
  const [a, b] = [first, second].map((values) => values.filter((_, i) => finite[i]));
  let [squares, differences, largest, most] = [0, 0, 0, 0];
  for (let i = 0; i < a.length; i++) {
    squares += (a[i] * a[i] + b[i] * b[i]) / 2;
    differences += (a[i] - b[i]) ** 2;
    largest = Math.max(largest, Math.abs(a[i] - b[i]));
    most = Math.max(most, Math.abs(a[i]), Math.abs(b[i]));
  }
  return {
    rankCorrelation: rankCorrelation(a, b),
    topOverlap: topOverlap(a, b, share),
    relativeDifference: squares ? Math.sqrt(differences / squares) : NaN,
    largestDifference: most ? largest / most : NaN,
    leftOut: first.length - a.length,
  };
}

/** How many features have each pair of values: counts [BINS, BINS], upwards, ends included. */
export function density(a, b, limits, bins = BINS) {
  const counts = new Float64Array(bins * bins);
  const bin = (value, limit) =>
    Math.min(Math.max(Math.floor(((value / (limit || 1) + 1) / 2) * bins), 0), bins - 1);
  for (let i = 0; i < a.length; i++) {
    if (!Number.isFinite(a[i]) || !Number.isFinite(b[i])) continue;
    counts[(bins - 1 - bin(b[i], limits[1])) * bins + bin(a[i], limits[0])]++;
  }
  return counts;
}

/** Where colours end for each panel, rows of numbers, from each panel's sorted magnitudes. */
export function limitsOf(sorted, scale, q) {
  const all = (several) => limitOf(several.length === 1 ? several[0] : magnitudes(...several), q);
  if (scale === "panel") return sorted.map((row) => row.map((one) => all([one])));
  const same = (row, limit) => row.map(() => limit);
  if (scale === "row") return sorted.map((row) => same(row, all(row)));
  const limit = all(sorted.flat());
  return sorted.map((row) => same(row, limit));
}

/** The choice after a panel is picked: again takes it off, a third one takes the second's place. */
export function choose(chosen, place) {
  const same = (other) => other[0] === place[0] && other[1] === place[1];
  if (chosen.some(same)) return chosen.filter((other) => !same(other));
  return [...chosen.slice(0, 1), place];
}

function render({ model, el }) {
  let panels = []; // rows of what is shown
  let photos = [];
  const set = (name, value) => {
    model.set(name, value);
    model.save_changes();
  };

  const title = element("div", { className: "ox-title" });
  const controls = mapControls(model, set);
  const scale = choice("Colour scale", SCALES, (value) => set("scale", value));
  const bar = element("div", { className: "ox-controls", role: "group", "aria-label": "How the maps are shown" },
    scale.box, controls.sign, controls.block, controls.cmap, controls.ends, controls.over);
  const caption = element("div", { className: "ox-caption ox-muted" });
  const grid = element("div", { className: "ox-grid" });
  const share = choice("Largest features", SHARES, () => compare());
  share.select.value = "10";
  const verdict = element("div", { className: "ox-verdict", hidden: true, role: "region", "aria-label": "Comparison" });
  const root = element("div", { className: "onnxshap ox-compare" }, title, bar, grid, caption, verdict);
  keepKeys(root);
  el.append(root);

  // --- panels --------------------------------------------------------------------------------------
  function build() {
    const values = floats(model.get("_values"));
    const shapes = model.get("_photo_shapes");
    photos = model.get("_photos").map((bytes, i) => photoLayer(
      new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.byteLength), shapes[i][1], shapes[i][0]));
    panels = model.get("_rows").map((row, r) => row.map((known, k) => {
      const [height, width] = known.shape;
      const canvas = element("canvas");
      const badge = element("span", { className: "ox-badge", "aria-hidden": "true" });
      const plate = element("button", { type: "button", className: "ox-plate" }, canvas, badge,
        element("span", { className: "ox-empty", hidden: true }, "no attribution"));
      plate.addEventListener("click", () => set("chosen", choose(model.get("chosen"), [r, k])));
      const facts = element("dl", { className: "ox-facts ox-numbers" });
      const figure = element("figure", {},
        element("figcaption", { title: known.title }, known.title), plate, facts);
      const pixels = Float64Array.from(values.subarray(known.start, known.start + height * width));
      return { known, canvas, plate, badge, facts, figure, pixels, width, height };
    }));
    grid.replaceChildren(...panels.map((row, r) => {
      const legend = legendOf("to right");
      row.legend = legend;
      return element("section", { "aria-label": model.get("_names")[r] || `Row ${r + 1}` },
        element("div", { className: "ox-name" }, element("div", {}, model.get("_names")[r]), legend.box),
        element("div", { className: "ox-panels" }, ...row.map((panel) => panel.figure)));
    }));
  }

  function legendOf(direction) {
    const ramp = element("div", { className: "ox-ramp" });
    const marks = [element("span"), element("span"), element("span")];
    const box = element("div", { className: `ox-legend ox-numbers ox-${direction.slice(3)}`, "aria-hidden": "true" },
      ramp, element("div", { className: "ox-marks" }, ...marks));
    return {
      box,
      show(scaled, limit) {
        box.hidden = !limit;
        ramp.style.background = gradient(scaled, direction);
        const { low, high } = scaled;
        [low, low < 0 && high > 0 ? 0 : null, high].forEach((mark, i) => {
          marks[i].textContent = mark === null ? "" : number(mark * limit, 2);
        });
      },
    };
  }

  /** Paint a map of cells on a canvas of this width in CSS pixels. */
  function show(canvas, map, panel, side, width, photo, limit, scaled) {
    const [columns, rows] = [Math.ceil(panel.width / side), Math.ceil(panel.height / side)];
    const ratio = window.devicePixelRatio || 1;
    canvas.style.width = `${width}px`;
    canvas.style.height = `${Math.round((width * panel.height) / panel.width)}px`;
    const [w, h] = [Math.round(width * ratio), Math.round((width * ratio * panel.height) / panel.width)];
    if (canvas.width !== w || canvas.height !== h) Object.assign(canvas, { width: w, height: h });
    const painted = layer(columns, rows, (rgba) => paint(rgba, map, {
      scale: scaled, limit, opacity: model.get("opacity"), uniform: model.get("uniform"), photo: !!photo,
    }));
    compose(canvas, {
      photo, map: painted, broken: brokenLayer(map, columns, rows), across: [panel.width / side, panel.height / side],
    });
  }

  function widthOf() {
    const full = root.clientWidth;
    const wide = full >= 620;
    root.classList.toggle("ox-wide", wide);
    const room = wide ? full - 132 : full;
    const most = Math.max(...panels.map((row) => row.length));
    const fitting = Math.max(1, Math.min(most, Math.floor((room + 12) / 132)));
    const width = Math.min(224, (room - 12 * (fitting - 1)) / fitting);
    const { width: pixels, height } = panels[0][0];
    const side = model.get("block");
    // Whole screen pixels a cell, so that no cell is wider than its neighbour.
    const ratio = window.devicePixelRatio || 1;
    const whole = Math.floor((width * ratio * side) / pixels);
    const scaled = (whole * pixels) / side / ratio;
    return height && whole >= 1 && scaled >= 0.8 * width ? scaled : Math.floor(width);
  }

  function draw() {
    if (!root.clientWidth) return;
    const start = performance.now();
    const [side, sign, q] = [model.get("block"), model.get("sign"), model.get("percentile")];
    const scaled = scaleOf(sign, model.get("cmap"));
    for (const panel of panels.flat()) {
      if (panel.shown === `${side} ${sign}`) continue;
      panel.shown = `${side} ${sign}`;
      panel.sums = inSquares(panel.pixels, panel.width, panel.height, side);
      panel.map = keepSign(panel.sums, sign);
      panel.sorted = magnitudes(panel.map);
    }
    const limits = limitsOf(panels.map((row) => row.map((panel) => panel.sorted)), model.get("scale"), q);
    const width = widthOf();
    grid.style.setProperty("--ox-panel", `${width}px`);
    panels.forEach((row, r) => {
      row.legend.show(scaled, model.get("scale") === "panel" ? 0 : limits[r][0]);
      row.forEach((panel, k) => {
        const limit = (panel.limit = limits[r][k]);
        const photo = photos[panel.known.photo];
        show(panel.canvas, panel.map, panel, side, width, photo, limit, scaled);
        const bad = panel.map.length - panel.sorted.length;
        panel.plate.lastChild.hidden = bad > 0 || panel.sorted.at(-1) > 0;
        const rows = panel.known.facts.map(([label, text]) => [label, minus(text)]);
        const reach = limitOf(panel.sorted, q);
        if (reach) rows.push(["reaches", `±${number(reach, 2).slice(1)}`]);
        if (limit) rows.push(["clipped", percent(clippedShare(panel.sorted, limit))]);
        if (bad) rows.push(["not finite", `${bad}, hatched`]);
        if (panel.known.block > 1) rows.push(["each pixel", `sum of ${panel.known.block} × ${panel.known.block}`]);
        panel.facts.replaceChildren(...listed(rows));
      });
    });
    root.dataset.drawMs = (performance.now() - start).toFixed(2);
    root.dataset.limits = JSON.stringify(limits);
    tell();
    compare();
  }

  function tell() {
    title.textContent = model.get("title");
    title.hidden = !model.get("title");
    controls.tell(photos.length > 0);
    scale.select.value = model.get("scale");
    const shared = model.get("scale");
    const [q, side] = [model.get("percentile"), model.get("block")];
    const over = { row: " in the row", grid: " in the grid", panel: " in each panel by itself" }[shared];
    caption.replaceChildren(
      `${meaning(model.get("sign"), model.get("cmap"))} Colours end at ${
        q === 100 ? "the largest |attribution|" : `percentile ${q} of |attribution|`}${over}. `,
      ...(shared === "panel"
        ? [element("b", {}, "Each panel has a scale of its own: colours cannot be compared between panels. ")]
        : []),
      side > 1 ? `Each cell is the sum of ${side} × ${side} pixels. ` : "",
      "Choose two maps to compare them.");
    Object.assign(root.dataset, { scale: shared, sign: model.get("sign"), block: side, percentile: q });
  }

  // --- two chosen panels ---------------------------------------------------------------------------
  const difference = element("canvas", { role: "img" });
  const differenceLegend = legendOf("to right");
  const cloud = element("canvas", { role: "img", className: "ox-cloud" });
  const names = [element("div", { className: "ox-x" }), element("div", { className: "ox-y" })];
  const corner = element("div", { className: "ox-corner ox-numbers" });
  const numbers = element("dl", { className: "ox-facts ox-numbers" });
  const note = element("div", { className: "ox-muted" });
  const heading = element("div", { className: "ox-heading" }, element("span"),
    button("Clear", "Clear the choice", () => set("chosen", [])));
  const drawn = element("div", { className: "ox-drawn" },
    element("figure", {}, element("figcaption", {}, "A − B"), difference, differenceLegend.box),
    element("figure", {}, element("figcaption", {}, "cell by cell"),
      element("div", { className: "ox-axes" }, names[1], cloud, names[0]), corner),
    element("div", { className: "ox-numbers-box" }, numbers, share.box));
  verdict.append(heading, drawn, note);

  function compare() {
    const chosen = model.get("chosen").filter(([r, k]) => panels[r]?.[k]);
    panels.forEach((row, r) => row.forEach((panel, k) => {
      const at = chosen.findIndex((place) => place[0] === r && place[1] === k);
      panel.badge.textContent = at < 0 ? "" : "AB"[at];
      panel.plate.setAttribute("aria-pressed", at >= 0);
      panel.plate.setAttribute("aria-label",
        `${[model.get("_names")[r], panel.known.title].filter(Boolean).join(", ")}: ${
          at < 0 ? "choose to compare" : `chosen as ${"AB"[at]}`}`);
    }));
    root.dataset.chosen = JSON.stringify(chosen);
    verdict.hidden = chosen.length < 2;
    for (const name of ["rankCorrelation", "topOverlap"]) delete root.dataset[name];
    if (verdict.hidden) return;
    const [a, b] = chosen.map(([r, k]) => panels[r][k]);
    const called = chosen.map(([r, k]) =>
      [model.get("_names").length > 1 ? model.get("_names")[r] : "", panels[r][k].known.title].filter(Boolean).join(", "));
    heading.firstChild.textContent = `A: ${called[0]}  ·  B: ${called[1]}`;
    const alike = a.width === b.width && a.height === b.height;
    drawn.hidden = !alike;
    note.textContent = alike ? "" :
      `A has ${a.height} × ${a.width} pixels, B has ${b.height} × ${b.width}: they cannot be compared value by value.`;
    if (!alike) return;

    const part = Number(share.select.value) / 100;
    const found = agree(a.sums, b.sums, part);
    const gap = a.sums.map((value, i) => value - b.sums[i]);
    const limit = limitOf(magnitudes(gap), model.get("percentile"));
    const scaled = scaleOf("signed", model.get("cmap"));
    const side = model.get("block");
    show(difference, gap, a, side, 224, photos[a.known.photo], limit, scaled);
    difference.setAttribute("aria-label", `Difference of A and B, colours end at ${number(limit, 3)}`);
    differenceLegend.show(scaled, limit);
    const q = model.get("percentile");
    const ends = [a, b].map((one) => limitOf(magnitudes(one.sums), q));
    if (model.get("scale") !== "panel") ends.fill(Math.max(...ends));
    scatter(density(a.sums, b.sums, ends));
    cloud.setAttribute("aria-label", "How many cells have each pair of values in A and B");
    names[0].textContent = `A, ±${number(ends[0], 2).slice(1)}`;
    names[1].textContent = `B, ±${number(ends[1], 2).slice(1)}`;
    const total = (one) => one.sums.reduce((sum, value) => sum + (Number.isFinite(value) ? value : 0), 0);
    const real = (value, text) => (Number.isNaN(value) ? "not defined" : text(value));
    numbers.replaceChildren(...listed([
      ["rank correlation (Spearman)", real(found.rankCorrelation, (v) => `${v < 0 ? "−" : "+"}${Math.abs(v).toFixed(3)}`)],
      [`overlap of the largest ${share.select.value} %`, real(found.topOverlap, percent)],
      ["relative difference", real(found.relativeDifference, percent)],
      ["largest difference", real(found.largestDifference, (v) => `${percent(v)} of the largest`)],
      ["sum of A", number(total(a))],
      ["sum of B", number(total(b))],
      ...(found.leftOut ? [["not finite", `${found.leftOut}, left out`]] : []),
    ]));
    Object.assign(root.dataset, { rankCorrelation: found.rankCorrelation, topOverlap: found.topOverlap });
  }

  /** Counts on a logarithmic scale, with the axes and the line of equal values. */
  function scatter(counts) {
    const ratio = window.devicePixelRatio || 1;
    const size = Math.round(224 * ratio);
    Object.assign(cloud, { width: size, height: size });
    cloud.style.width = cloud.style.height = "224px";
    const context = cloud.getContext("2d");
    const top = Math.log1p(counts.reduce((most, n) => Math.max(most, n), 1));
    const table = colourTable("magma_r");
    const cells = layer(BINS, BINS, (rgba) => counts.forEach((n, i) => {
      if (!n) return;
      const at = 3 * Math.round(235 * (Math.log1p(n) / top) + 20);
      rgba.set([table[at], table[at + 1], table[at + 2], 255], 4 * i);
    }));
    context.imageSmoothingEnabled = false;
    context.drawImage(cells, 0, 0, size, size);
    context.strokeStyle = "#0005";
    context.lineWidth = ratio;
    const line = (x0, y0, x1, y1, dash) => {
      context.setLineDash(dash.map((n) => n * ratio));
      context.beginPath();
      context.moveTo(x0 * size, y0 * size);
      context.lineTo(x1 * size, y1 * size);
      context.stroke();
    };
    line(0.5, 0, 0.5, 1, []);
    line(0, 0.5, 1, 0.5, []);
    line(0, 1, 1, 0, [3, 3]);
    corner.textContent = "dark: many cells; dashed: equal values";
  }

  const redraw = later(draw);
  const rebuild = later(() => {
    build();
    draw();
  });
  build();
  draw();
  let known = root.clientWidth;
  const watcher = new ResizeObserver(() => {
    if (root.clientWidth !== known) draw();
    known = root.clientWidth;
  });
  watcher.observe(root);
  const stops = [
    onChange(model, [...SETTINGS, "title"], redraw),
    onChange(model, PANELS, rebuild),
    onChange(model, ["chosen"], compare),
  ];
  return () => {
    watcher.disconnect();
    stops.forEach((stop) => stop());
    root.remove();
  };
}

export default { render };
