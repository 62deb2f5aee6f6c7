// Attribution maps: their colours, limits, numbers, and the controls that all widgets of maps have.

const SIGNS = ["signed", "positive", "negative", "absolute"].map((name) => [name, name]);
const BLOCKS = [1, 2, 4, 8, 16].map((n) => [`${n}`, n === 1 ? "1 pixel" : `${n} × ${n}`]);
const PERCENTILES = [["100", "largest value"], ["99.9", "99.9 %"], ["99.5", "99.5 %"], ["98", "98 %"]];
const CMAPS = [["RdBu_r", "red – blue"], ["PuOr_r", "orange – purple"]];

/** matplotlib's maps by that name, at evenly spaced points, linear between them. */
const COLOURS = {
  RdBu_r: "053061 2166ac 4393c3 92c5de d1e5f0 f7f7f7 fddbc7 f4a582 d6604d b2182b 67001f",
  PuOr_r: "2d004b 542788 8073ac b2abd2 d8daeb f7f7f7 fee0b6 fdb863 e08214 b35806 7f3b08",
  magma_r: "fcfdbf fde7a9 fecf92 feb77e fe9f6d fb8761 f7705c ed5a5f de4968 ca3e72 b5367a a1307e 8c2981 782281 641a80 4f127b 3b0f70 251255 140e36 06051a 000004",
};

/** 256 colours of a map, [r, g, b, r, g, b, ...]. */
export function colourTable(name) {
  const points = COLOURS[name].split(" ").map((hex) => parseInt(hex, 16));
  const table = new Uint8ClampedArray(256 * 3);
  for (let i = 0; i < 256; i++) {
    const at = (i / 255) * (points.length - 1);
    const low = Math.min(Math.floor(at), points.length - 2);
    for (let c = 0; c < 3; c++) {
      const [a, b] = [points[low], points[low + 1]].map((p) => (p >> (16 - 8 * c)) & 255);
      table[3 * i + c] = a + (b - a) * (at - low);
    }
  }
  return table;
}

/** What a sign shows: its colour map, and the part of it and of -1..1 that its values take. */
export function scaleOf(sign, cmap) {
  if (sign === "absolute") return { cmap: "magma_r", from: 0, to: 1, low: 0, high: 1 };
  const half = { positive: [0, 1], negative: [-1, 0] }[sign] ?? [-1, 1];
  return { cmap, from: (half[0] + 1) / 2, to: (half[1] + 1) / 2, low: half[0], high: half[1] };
}

/** The colours of a scale as a CSS gradient. */
export function gradient(scale, direction) {
  const table = colourTable(scale.cmap);
  const stops = Array.from({ length: 33 }, (_, i) => {
    const at = 3 * Math.round(255 * (scale.from + ((scale.to - scale.from) * i) / 32));
    return `rgb(${table[at]} ${table[at + 1]} ${table[at + 2]})`;
  });
  return `linear-gradient(${direction}, ${stops.join(", ")})`;
}

/** The asked-for part of signed values; what is not finite stays. */
export function keepSign(values, sign) {
  if (sign === "signed") return values;
  const keep = {
    positive: (v) => (v < 0 ? 0 : v),
    negative: (v) => (v > 0 ? 0 : v),
    absolute: Math.abs,
  }[sign];
  return values.map(keep);
}

/** Sums over squares of pixels, row by row; the last ones may be cut. */
export function inSquares(values, width, height, side) {
  if (side === 1) return values;
  const columns = Math.ceil(width / side);
  const sums = new Float64Array(columns * Math.ceil(height / side));
  for (let y = 0, at = 0; y < height; y++) {
    const row = Math.floor(y / side) * columns;
    for (let x = 0; x < width; x++, at++) sums[row + Math.floor(x / side)] += values[at];
  }
  return sums;
}

/** Finite |values| of several maps, in rising order. */
export function magnitudes(...maps) {
  const all = new Float64Array(maps.reduce((n, map) => n + map.length, 0));
  let count = 0;
  for (const map of maps) {
    for (const value of map) if (Number.isFinite(value)) all[count++] = Math.abs(value);
  }
  return all.subarray(0, count).sort();
}

/** Percentile of sorted numbers, linear between neighbours as numpy's; 0 of none. */
export function percentile(sorted, q) {
  if (!sorted.length) return 0;
  const at = (q / 100) * (sorted.length - 1);
  const low = Math.floor(at);
  const high = Math.min(low + 1, sorted.length - 1);
  return sorted[low] + (sorted[high] - sorted[low]) * (at - low);
}

/** Where colours end: a percentile of |values|; where that is 0, the largest. */
export function limitOf(sorted, q) {
  return percentile(sorted, q) || (sorted.length ? sorted[sorted.length - 1] : 0);
}

/** Share of sorted numbers above a limit. */
export function clippedShare(sorted, limit) {
  let [low, high] = [0, sorted.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (sorted[middle] > limit) high = middle;
    else low = middle + 1;
  }
  return sorted.length ? (sorted.length - low) / sorted.length : 0;
}

/**
 * Colour a map into RGBA bytes. Over a photo opacity grows with |value|, or is the same all over
 * where `uniform`; without a photo all is opaque. What is not finite stays clear, and is hatched.
 */
export function paint(rgba, values, { scale, limit, opacity = 1, uniform = false, photo = true }) {
  const table = colourTable(scale.cmap);
  const [low, span] = [scale.low, scale.high - scale.low];
  const [first, steps] = [scale.from * 255, (scale.to - scale.from) * 255];
  const inverse = limit ? 1 / limit : 0;
  for (let i = 0, at = 0; i < values.length; i++, at += 4) {
    const share = values[i] * inverse;
    if (!Number.isFinite(share)) {
      rgba[at + 3] = 0;
      continue;
    }
    const place = Math.min(Math.max((share - low) / span, 0), 1);
    const colour = 3 * Math.round(first + steps * place);
    rgba[at] = table[colour];
    rgba[at + 1] = table[colour + 1];
    rgba[at + 2] = table[colour + 2];
    const size = Math.min(Math.abs(share), 1);
    rgba[at + 3] = photo ? 255 * opacity * (uniform ? 1 : Math.sqrt(size * Math.sqrt(size))) : 255;
  }
  return rgba;
}

/** Four digits, a sign and a true minus. */
export function number(value, digits = 4) {
  if (value === null || value === undefined || !Number.isFinite(value)) return "not finite";
  if (value === 0) return "0";
  const size = Math.abs(value);
  const text = size >= 1e-4 && size < 1e6
    ? Number(size.toPrecision(digits)).toString()
    : size.toExponential(digits - 1).replace(/\.?0+e/, "e").replace("e-", "e−").replace("e+", "e");
  return (value < 0 ? "−" : "+") + text;
}

/** A share as a percentage; two digits at least, no more than needed. */
export function percent(share) {
  if (!Number.isFinite(share)) return "not finite";
  const size = Math.abs(share);
  const text = (100 * size).toFixed(size >= 0.1 || size === 0 ? 0 : size >= 0.01 ? 1 : 2);
  return `${share < 0 ? "−" : ""}${text} %`;
}

/** Numbers in a text with true minus signs; words keep their hyphens. */
export function minus(text) {
  return text.replace(/(^|[\s(\[,;=→±]|\de)-(?=\.?\d)/g, "$1−");
}

/** A canvas that holds a map or a photo at its own size; never shown itself. */
export function layer(width, height, fill) {
  const canvas = element("canvas", { width, height });
  const context = canvas.getContext("2d");
  const pixels = context.createImageData(width, height);
  fill(pixels.data);
  context.putImageData(pixels, 0, 0);
  return canvas;
}

/** A grey photo, lifted towards white so that the colours above it stay readable. */
export function photoLayer(bytes, width, height) {
  return layer(width, height, (rgba) => {
    for (let i = 0; i < bytes.length; i++) {
      rgba.fill(112 + bytes[i] * 0.5608, 4 * i, 4 * i + 3);
      rgba[4 * i + 3] = 255;
    }
  });
}

/** Where a map is not finite, as a layer to hatch through; null where all of it is finite. */
export function brokenLayer(values, width, height) {
  if (values.every(Number.isFinite)) return null;
  return layer(width, height, (rgba) => {
    for (let i = 0; i < values.length; i++) rgba[4 * i + 3] = Number.isFinite(values[i]) ? 0 : 255;
  });
}

/**
 * Draw photo, map and hatch on a canvas. `view` is the part of the picture shown, in 0..1; `across`
 * is how many cells of the map span the picture, less than the map has where its last are cut.
 */
export function compose(canvas, { photo, map, broken, across }, view = { x: 0, y: 0, size: 1 }) {
  const context = canvas.getContext("2d");
  const { width, height } = canvas;
  context.clearRect(0, 0, width, height);
  const place = (target, source, [columns, rows]) => {
    const part = [view.x * columns, view.y * rows, view.size * columns, view.size * rows];
    target.drawImage(source, ...part, 0, 0, width, height);
  };
  context.imageSmoothingQuality = "high";
  context.imageSmoothingEnabled = true;
  if (photo) place(context, photo, [photo.width, photo.height]);
  // A map keeps its pixels where they are enlarged, and is averaged where they are too many.
  context.imageSmoothingEnabled = across[0] * view.size > width;
  place(context, map, across);
  if (!broken) return;
  const hatch = element("canvas", { width, height });
  const strokes = hatch.getContext("2d");
  strokes.imageSmoothingEnabled = false;
  place(strokes, broken, across);
  strokes.globalCompositeOperation = "source-in";
  strokes.fillStyle = strokes.createPattern(stripes(), "repeat");
  strokes.fillRect(0, 0, width, height);
  context.drawImage(hatch, 0, 0);
}

function stripes() {
  return layer(8, 8, (rgba) => {
    for (let i = 0; i < 64; i++) {
      rgba.set((i + (i >> 3)) % 8 < 4 ? [255, 0, 255, 255] : [255, 255, 255, 255], 4 * i);
    }
  });
}

/** A select with its label; `choices` are [value, text] pairs. */
export function choice(label, choices, onPick) {
  const select = element("select", { "aria-label": label });
  for (const [value, text] of choices) select.append(element("option", { value }, text));
  select.addEventListener("change", () => onPick(select.value));
  return { select, box: element("label", { className: "ox-field" }, element("span", {}, label), select) };
}

/** Set a select, with an entry of its own where the value is none of its choices. */
export function pick(select, value, text = value) {
  if (![...select.options].some((option) => option.value === value)) {
    select.append(element("option", { value }, text));
  }
  select.value = value;
}

/** The controls of a map that every widget with maps has; `set` takes a trait and its value. */
export function mapControls(model, set) {
  const sign = choice("Attributions", SIGNS, (value) => set("sign", value));
  const block = choice("Cells", BLOCKS, (value) => set("block", Number(value)));
  const cmap = choice("Colours", CMAPS, (value) => set("cmap", value));
  const ends = choice("Colours end at", PERCENTILES, (value) => {
    if (value !== "limit") set("percentile", Number(value));
  });
  const opacity = element("input", { type: "range", min: 0, max: 1, step: 0.01, "aria-label": "Opacity" });
  opacity.addEventListener("input", () => model.set("opacity", Number(opacity.value)));
  opacity.addEventListener("change", () => model.save_changes());
  const uniform = element("input", { type: "checkbox" });
  uniform.addEventListener("change", () => set("uniform", uniform.checked));
  const over = element("div", { className: "ox-field" }, element("span", {}, "Opacity"),
    element("span", { className: "ox-line" }, opacity,
      element("label", { title: "The same opacity for every value" }, uniform, "uniform")));
  const tell = (photo) => {
    const [q, side] = [model.get("percentile"), model.get("block")];
    sign.select.value = model.get("sign");
    pick(block.select, `${side}`, `${side} × ${side}`);
    cmap.select.value = model.get("cmap");
    cmap.select.disabled = model.get("sign") === "absolute";
    // A limit that was given has an entry as long as it holds.
    [...ends.select.options].find((option) => option.value === "limit")?.remove();
    if ((model.get("limit") ?? null) !== null) pick(ends.select, "limit", "a given limit");
    else pick(ends.select, `${q}`, `${q} %`);
    over.hidden = !photo;
    opacity.value = model.get("opacity");
    uniform.checked = model.get("uniform");
  };
  return { sign: sign.box, block: block.box, cmap: cmap.box, ends: ends.box, over, tell };
}

/** A button with a text and a fuller name. */
export function button(text, label, act) {
  const made = element("button", { type: "button", "aria-label": label, title: label }, text);
  made.addEventListener("click", act);
  return made;
}

/** A definition list of [label, text] rows. */
export function listed(rows) {
  return rows.map(([label, text]) =>
    element("div", {}, element("dt", {}, label), element("dd", {}, text)));
}

/** How to read the colours. */
export function meaning(sign, cmap) {
  const [up, down] = cmap === "RdBu_r" ? ["Red", "Blue"] : ["Orange", "Purple"];
  return {
    signed: `${up} pushes the output up, ${down.toLowerCase()} pushes it down.`,
    positive: `${up} pushes the output up; what pushes it down is not shown.`,
    negative: `${down} pushes the output down; what pushes it up is not shown.`,
    absolute: "Colour shows the size of attributions, not their sign.",
  }[sign];
}
