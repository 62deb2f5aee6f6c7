// One attribution map over its picture: painted here, so that no control waits for the kernel.

const SETTINGS = ["sign", "percentile", "opacity", "uniform", "cmap", "channel", "block", "limit"];
const ARRAYS = ["_values", "_shape", "_photo", "_photo_shape"];
const END = { signed: "±", positive: "+", negative: "−", absolute: "" };
const WIDEST = 480;
const CLOSEST = 32;

/** One map of several channels: their sum, the one of largest |value|, or one of them. */
export function overChannels(values, [channels, height, width], channel) {
  const size = height * width;
  const index = Number(channel);
  if (channel !== "sum" && channel !== "max-abs") {
    return Float64Array.from(values.subarray(index * size, (index + 1) * size));
  }
  const map = Float64Array.from(values.subarray(0, size));
  for (let c = 1; c < channels; c++) {
    for (let i = 0, at = c * size; i < size; i++, at++) {
      if (channel === "sum") map[i] += values[at];
      // Written so that a value that is not a number stays one.
      else if (!(Math.abs(values[at]) <= Math.abs(map[i]))) map[i] = Number.isNaN(map[i]) ? NaN : values[at];
    }
  }
  return map;
}

/** Sums of finite values over columns x0..x1 and rows y0..y1, ends excluded. */
export function sumOver(map, width, { x0, y0, x1, y1 }) {
  const found = { sum: 0, up: 0, down: 0, left: 0 };
  for (let y = y0; y < y1; y++) {
    for (let x = x0; x < x1; x++) {
      const value = map[y * width + x];
      if (!Number.isFinite(value)) found.left++;
      else if (value > 0) found.up += value;
      else found.down += value;
    }
  }
  found.sum = found.up + found.down;
  return found;
}

/** The rectangle that spans two cells, both included. */
export function spanned(a, b) {
  return {
    x0: Math.min(a.x, b.x),
    y0: Math.min(a.y, b.y),
    x1: Math.max(a.x, b.x) + 1,
    y1: Math.max(a.y, b.y) + 1,
  };
}

/** A view scaled by `factor` about a point of the frame, kept within the picture. */
export function zoomed(view, factor, at = { x: 0.5, y: 0.5 }) {
  const size = Math.min(1, Math.max(1 / CLOSEST, view.size / factor));
  return within({
    size,
    x: view.x + at.x * (view.size - size),
    y: view.y + at.y * (view.size - size),
  });
}

/** The same view, inside the picture. */
export function within({ x, y, size }) {
  const clamp = (value) => Math.min(Math.max(value, 0), 1 - size);
  return { x: clamp(x), y: clamp(y), size };
}

/** Display size in CSS pixels: whole screen pixels for each cell where that costs little room. */
export function displaySize(width, height, room, ratio = 1, tallest = 560) {
  const free = Math.min(room / width, tallest / height) * ratio;
  const whole = Math.floor(free);
  const scale = (whole >= 1 && whole >= 0.75 * free ? whole : free) / ratio;
  return { width: Math.round(width * scale), height: Math.round(height * scale) };
}

function render({ model, el }) {
  const data = {};
  let view = { x: 0, y: 0, size: 1 };
  let cursor = null;
  let anchor = null;
  let hover = null;
  let panning = false;

  const set = (name, value) => {
    model.set(name, value);
    model.save_changes();
  };

  // --- what is on the page -----------------------------------------------------------------------
  const title = element("div", { className: "ox-title" });
  const controls = mapControls(model, (name, value) => {
    if (name === "percentile") model.set("limit", null);
    set(name, value);
  });
  const channel = choice("Channels", [], (value) => set("channel", value));
  const pan = button("Pan", "Drag to move the picture instead of selecting", () => {
    panning = !panning;
    pan.setAttribute("aria-pressed", panning);
    canvas.classList.toggle("ox-pan", panning);
  });
  pan.setAttribute("aria-pressed", "false");
  const zoom = element("div", { className: "ox-buttons", role: "group", "aria-label": "Zoom" },
    button("−", "Zoom out", () => look(zoomed(view, 1 / 1.5))),
    button("+", "Zoom in", () => look(zoomed(view, 1.5))),
    button("Fit", "Show the whole picture", () => look({ x: 0, y: 0, size: 1 })),
    pan);
  const bar = element("div", { className: "ox-controls", role: "group", "aria-label": "How the map is shown" },
    controls.sign, channel.box, controls.block, controls.cmap, controls.ends, controls.over);

  const canvas = element("canvas", { className: "ox-canvas", tabIndex: 0, role: "application" });
  const box = element("div", { className: "ox-mark ox-selection", hidden: true });
  const point = element("div", { className: "ox-mark ox-cursor", hidden: true });
  const empty = element("div", { className: "ox-empty", hidden: true }, "no attribution");
  const stage = element("div", { className: "ox-stage" }, canvas, box, point, empty);
  const ramp = element("div", { className: "ox-ramp" });
  const ends = ["top", "middle", "bottom"].map((place) => element("span", { className: `ox-${place}` }));
  const legend = element("div", { className: "ox-legend ox-numbers", "aria-hidden": "true" }, ramp, ...ends);
  const readout = element("div", { className: "ox-readout ox-numbers", "aria-live": "polite" });
  const chosen = element("div", { className: "ox-chosen ox-numbers", "aria-live": "polite" });
  const facts = element("dl", { className: "ox-facts ox-numbers" });
  const caption = element("div", { className: "ox-caption ox-muted" });
  const figure = element("div", { className: "ox-figure" },
    element("div", { className: "ox-picture" }, stage, legend),
    element("div", { className: "ox-under" }, readout, zoom));
  const side = element("div", { className: "ox-side" }, facts, chosen, caption);
  const root = element("div", { className: "onnxshap ox-overlay" },
    title, bar, element("div", { className: "ox-body" }, figure, side));
  keepKeys(root);
  el.append(root);

  // --- from traits to pixels -------------------------------------------------------------------
  function load() {
    const fresh = ARRAYS.some((name) => data[name] !== model.get(name));
    if (fresh) {
      for (const name of ARRAYS) data[name] = model.get(name);
      const [channels, height, width] = data._shape;
      if (data.width !== width || data.height !== height) {
        view = { x: 0, y: 0, size: 1 };
        cursor = anchor = hover = null;
      }
      Object.assign(data, { channels, height, width, values: floats(data._values) });
      const [h, w] = data._photo_shape;
      const bytes = data._photo;
      data.photo = h && w
        ? photoLayer(new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.byteLength), w, h)
        : null;
    }
    const [shownSign, shownChannel, side] = ["sign", "channel", "block"].map((name) => model.get(name));
    if (fresh || data.sign !== shownSign || data.channel !== shownChannel || data.side !== side) {
      const { width, height } = data;
      const pixels = overChannels(data.values, data._shape, shownChannel);
      data.totals = shownChannel === "max-abs" ? overChannels(data.values, data._shape, "sum") : pixels;
      data.total = sumOver(data.totals, width, { x0: 0, y0: 0, x1: width, y1: height });
      if (data.side !== side && cursor) cursor = anchor = hover = null;
      data.columns = Math.ceil(width / side);
      data.rows = Math.ceil(height / side);
      data.sums = inSquares(pixels, width, height, side);
      data.map = keepSign(data.sums, shownSign);
      data.sorted = magnitudes(data.map);
      data.broken = brokenLayer(data.map, data.columns, data.rows);
      Object.assign(data, { sign: shownSign, channel: shownChannel, side });
    }
    data.limit = model.get("limit") ?? limitOf(data.sorted, model.get("percentile"));
    data.scale = scaleOf(shownSign, model.get("cmap"));
    data.layer = layer(data.columns, data.rows, (rgba) => paint(rgba, data.map, {
      scale: data.scale,
      limit: data.limit,
      opacity: model.get("opacity"),
      uniform: model.get("uniform"),
      photo: data.photo !== null,
    }));
  }

  function draw() {
    const across = [data.width / data.side, data.height / data.side];
    compose(canvas, { photo: data.photo, map: data.layer, broken: data.broken, across }, view);
    const placed = (mark, rectangle) => {
      mark.hidden = !rectangle;
      if (!rectangle) return;
      const left = (rectangle.x0 / data.width - view.x) / view.size;
      const top = (rectangle.y0 / data.height - view.y) / view.size;
      mark.style.left = `${100 * left}%`;
      mark.style.top = `${100 * top}%`;
      mark.style.width = `${(100 * (rectangle.x1 - rectangle.x0)) / data.width / view.size}%`;
      mark.style.height = `${(100 * (rectangle.y1 - rectangle.y0)) / data.height / view.size}%`;
    };
    placed(box, chosenPixels());
    placed(point, cursor && document.activeElement === canvas ? inPixels(spanned(cursor, cursor)) : null);
    root.dataset.zoom = (1 / view.size).toFixed(2);
  }

  function refresh() {
    const start = performance.now();
    load();
    draw();
    root.dataset.drawMs = (performance.now() - start).toFixed(2);
    tell();
  }

  function look(next) {
    view = next;
    draw();
  }

  // --- words beside the picture ----------------------------------------------------------------
  function tell() {
    title.textContent = model.get("title");
    title.hidden = !model.get("title");
    controls.tell(data.photo);
    channel.box.hidden = data.channels === 1;
    const each = Array.from({ length: data.channels }, (_, i) => [`${i}`, `channel ${i}`]);
    const wanted = [["sum", "sum"], ["max-abs", "largest |value|"], ...each];
    if (channel.select.options.length !== wanted.length) {
      channel.select.replaceChildren(...wanted.map(([value, text]) => element("option", { value }, text)));
    }
    channel.select.value = data.channel;
    const [fixed, q] = [model.get("limit") !== null, model.get("percentile")];
    const { low, high } = data.scale;
    const marks = low < 0 && high > 0 ? [high, 0, low] : [high, null, low];
    ramp.style.background = gradient(data.scale, "to top");
    marks.forEach((mark, i) => {
      ends[i].textContent = mark === null ? "" : number(mark * data.limit, 2);
    });
    legend.style.visibility = data.limit ? "visible" : "hidden";
    const bad = data.map.length - data.sorted.length;
    empty.hidden = bad > 0 || data.limit > 0;
    const clipped = clippedShare(data.sorted, data.limit);

    const rows = model.get("_facts").map(([label, text]) => [label, minus(text)]);
    if (!rows.length) rows.push(["sum", number(data.total.sum)]);
    const which = fixed ? "as given" : q === 100 ? "the largest" : `percentile ${q}`;
    if (data.limit) {
      rows.push(["colours end at", `${END[data.sign]}${number(data.limit, 3).slice(1)}, ${which}`]);
      rows.push(["clipped", percent(clipped)]);
    }
    if (bad) rows.push(["not finite", `${bad}, hatched`]);
    const cell = model.get("_block") * data.side;
    if (cell > 1) rows.push(["each cell", `sum of ${cell} × ${cell} pixels`]);
    facts.replaceChildren(...listed(rows));
    caption.textContent = meaning(data.sign, model.get("cmap"));

    const [height, width] = model.get("_size");
    canvas.setAttribute("aria-label",
      `Attribution map${title.hidden ? "" : ` of ${title.textContent}`}, ${width} by ${height} pixels. ` +
      "Arrow keys read values, with shift they select a rectangle; plus, minus and zero zoom.");
    Object.assign(root.dataset, {
      sign: data.sign, channel: data.channel, block: data.side, cmap: data.scale.cmap, percentile: q,
      opacity: model.get("opacity"), uniform: model.get("uniform"), limit: data.limit,
      clipped, broken: bad, empty: !empty.hidden,
    });
    tellSelection();
    tellValue();
  }

  function tellValue() {
    const cell = hover ?? (document.activeElement === canvas ? cursor : null);
    if (!cell) {
      readout.textContent = "Point at the map to read values, drag to sum a rectangle.";
      readout.classList.add("ox-hint");
      delete root.dataset.value;
      return;
    }
    readout.classList.remove("ox-hint");
    const pixels = model.get("_block") * data.side;
    const at = cell.y * data.columns + cell.x;
    const value = data.sums[at];
    const says = Number.isFinite(value) && value !== 0 ? (value > 0 ? "pushes up" : "pushes down") : "";
    const each = data.channels > 1 && data.channels <= 4 && data.side === 1
      ? Array.from({ length: data.channels }, (_, c) => number(data.values[(c * data.height + cell.y) * data.width + cell.x], 3))
      : [];
    readout.replaceChildren(
      element("span", { className: "ox-where" }, `x ${cell.x * pixels}, y ${cell.y * pixels}`),
      element("b", {}, number(value)),
      element("span", {}, says),
      element("span", { className: "ox-muted" }, each.length ? `channels ${each.join(" ")}` : ""));
    root.dataset.value = value;
  }

  /** The selection in pixels of what was sent, which may be squares of those of the map. */
  function chosenPixels() {
    const now = data.pending ?? model.get("selection");
    if (now.x0 === undefined) return null;
    const sent = model.get("_block");
    return {
      x0: Math.floor(now.x0 / sent), y0: Math.floor(now.y0 / sent),
      x1: Math.ceil(now.x1 / sent), y1: Math.ceil(now.y1 / sent),
    };
  }

  function inPixels({ x0, y0, x1, y1 }) {
    const { side, width, height } = data;
    return { x0: x0 * side, y0: y0 * side, x1: Math.min(x1 * side, width), y1: Math.min(y1 * side, height) };
  }

  function measured(rectangle) {
    const sent = model.get("_block");
    const [height, width] = model.get("_size");
    const { sum } = sumOver(data.totals, data.width, rectangle);
    return {
      x0: rectangle.x0 * sent, y0: rectangle.y0 * sent,
      x1: Math.min(rectangle.x1 * sent, width), y1: Math.min(rectangle.y1 * sent, height),
      sum, share: data.total.sum ? sum / data.total.sum : null,
    };
  }

  function tellSelection() {
    const rectangle = chosenPixels();
    chosen.hidden = !rectangle;
    root.dataset.selection = "";
    if (!rectangle) return;
    const { x0, y0, x1, y1, sum, share } = measured(rectangle);
    const { up, down, left } = sumOver(data.totals, data.width, rectangle);
    const [height, width] = model.get("_size");
    const area = ((x1 - x0) * (y1 - y0)) / (width * height);
    chosen.replaceChildren(
      element("div", { className: "ox-heading" }, element("span", {}, "Selection"),
        button("Clear", "Clear the selection", () => select(null))),
      element("dl", { className: "ox-facts" }, ...listed([
        ["sum", number(sum)],
        ["up, down", `${number(up)}, ${number(down)}`],
        ["share of the total", share === null ? "total is 0" : percent(share)],
        ["share of the area", percent(area)],
        ["pixels", `x ${x0} to ${x1 - 1}, y ${y0} to ${y1 - 1}`],
        ...(left ? [["not finite", `${left}, left out`]] : []),
      ])));
    root.dataset.selection = [x0, y0, x1, y1].join(",");
    root.dataset.sum = sum;
  }

  /** Show a rectangle of cells as selected; `done` tells the kernel. */
  function select(rectangle, done = true) {
    data.pending = rectangle ? measured(inPixels(rectangle)) : {};
    if (done) {
      set("selection", data.pending);
      data.pending = null;
      if (!rectangle) anchor = null;
    }
    draw();
    tellSelection();
  }

  // --- pointer and keys --------------------------------------------------------------------------
  function place(event) {
    const frame = canvas.getBoundingClientRect();
    return { x: (event.clientX - frame.left) / frame.width, y: (event.clientY - frame.top) / frame.height };
  }

  function cellAt(event) {
    const at = place(event);
    const cell = (part, offset, size) => {
      const pixel = Math.min(Math.max((offset + part * view.size) * size, 0), size - 1);
      return Math.floor(pixel / data.side);
    };
    return { x: cell(at.x, view.x, data.width), y: cell(at.y, view.y, data.height) };
  }

  let drag = null;
  canvas.addEventListener("pointerdown", (event) => {
    if (event.button > 1) return;
    canvas.setPointerCapture(event.pointerId);
    const moving = panning || event.shiftKey || event.button === 1;
    drag = { moving, from: place(event), view, cell: cellAt(event), moved: false };
    if (event.button === 1) event.preventDefault();
  });
  canvas.addEventListener("pointermove", (event) => {
    hover = cellAt(event);
    tellValue();
    if (!drag) return;
    const at = place(event);
    const frame = canvas.getBoundingClientRect();
    drag.moved ||= Math.hypot((at.x - drag.from.x) * frame.width, (at.y - drag.from.y) * frame.height) > 3;
    if (!drag.moved) return;
    if (drag.moving) {
      look(within({
        size: view.size,
        x: drag.view.x - (at.x - drag.from.x) * view.size,
        y: drag.view.y - (at.y - drag.from.y) * view.size,
      }));
    } else select(spanned(drag.cell, hover), false);
  });
  canvas.addEventListener("pointerup", (event) => {
    if (!drag) return;
    const { moving, moved, cell } = drag;
    drag = null;
    if (moving) return;
    cursor = cellAt(event);
    anchor = moved ? cell : null;
    if (moved) select(spanned(cell, cursor));
    else select(null);
  });
  canvas.addEventListener("pointercancel", () => {
    drag = null;
    data.pending = null;
    draw();
  });
  canvas.addEventListener("pointerleave", () => {
    hover = null;
    tellValue();
  });
  canvas.addEventListener("wheel", (event) => {
    if (!event.ctrlKey && !event.metaKey) return;
    event.preventDefault();
    look(zoomed(view, Math.exp(-event.deltaY / 300), place(event)));
  }, { passive: false });
  canvas.addEventListener("focus", () => {
    cursor ??= { x: data.columns >> 1, y: data.rows >> 1 };
    draw();
    tellValue();
  });
  canvas.addEventListener("blur", () => {
    draw();
    tellValue();
  });
  canvas.addEventListener("keydown", (event) => {
    cursor ??= { x: data.columns >> 1, y: data.rows >> 1 };
    const step = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
    if (step) {
      const far = event.ctrlKey || event.altKey ? 10 : 1;
      if (event.shiftKey) anchor ??= cursor;
      else anchor = null;
      cursor = {
        x: Math.min(Math.max(cursor.x + far * step[0], 0), data.columns - 1),
        y: Math.min(Math.max(cursor.y + far * step[1], 0), data.rows - 1),
      };
      hover = null;
      follow();
      if (event.shiftKey) select(spanned(anchor, cursor));
      draw();
      tellValue();
    } else if (event.key === "+" || event.key === "=") look(zoomed(view, 1.5, centre()));
    else if (event.key === "-") look(zoomed(view, 1 / 1.5, centre()));
    else if (event.key === "0") look({ x: 0, y: 0, size: 1 });
    else if (event.key === "Escape" && chosenPixels()) {
      select(null);
      event.stopPropagation(); // else it would also leave the cell
    } else return;
    event.preventDefault();
  });

  /** Where the cursor is in the picture, 0..1. */
  function cursorPlace() {
    const { x0, y0, x1, y1 } = inPixels(spanned(cursor, cursor));
    return { left: x0 / data.width, right: x1 / data.width, top: y0 / data.height, bottom: y1 / data.height };
  }

  /** Where the cursor is in the frame, to zoom about it. */
  function centre() {
    const { left, right, top, bottom } = cursorPlace();
    const inFrame = (middle, start) => Math.min(Math.max((middle - start) / view.size, 0), 1);
    return { x: inFrame((left + right) / 2, view.x), y: inFrame((top + bottom) / 2, view.y) };
  }

  /** Move the view so that the cursor is inside it. */
  function follow() {
    const { left, right, top, bottom } = cursorPlace();
    const into = (start, low, high) => Math.min(Math.max(start, high - view.size), low);
    view = within({ size: view.size, x: into(view.x, left, right), y: into(view.y, top, bottom) });
  }

  // --- sizes -------------------------------------------------------------------------------------
  function resize() {
    const full = root.clientWidth;
    if (!full) return;
    const wide = full >= 620;
    root.classList.toggle("ox-wide", wide);
    const room = Math.min(WIDEST, full - 62 - (wide ? 216 : 0));
    const ratio = window.devicePixelRatio || 1;
    const size = displaySize(data.width, data.height, Math.max(room, 64), ratio);
    stage.style.width = `${size.width}px`;
    root.style.setProperty("--ox-picture", `${size.width}px`);
    stage.style.height = `${size.height}px`;
    figure.style.width = `${size.width + 62}px`;
    const [width, height] = [Math.round(size.width * ratio), Math.round(size.height * ratio)];
    if (canvas.width !== width || canvas.height !== height) Object.assign(canvas, { width, height });
  }

  const shapeKey = () => model.get("_shape").join();
  let shape = shapeKey();
  const redraw = later(() => {
    const start = performance.now();
    load();
    if (shape !== shapeKey()) {
      shape = shapeKey();
      resize();
    }
    draw();
    root.dataset.drawMs = (performance.now() - start).toFixed(2);
    tell();
  });
  load();
  resize();
  refresh();
  const watcher = new ResizeObserver(() => {
    resize();
    draw();
  });
  watcher.observe(root);
  const stop = onChange(model, [...SETTINGS, ...ARRAYS, "title", "_facts", "_block"], redraw);
  const stopSelection = onChange(model, ["selection"], () => {
    draw();
    tellSelection();
  });
  return () => {
    watcher.disconnect();
    stop();
    stopSelection();
    root.remove();
  };
}

export default { render };
