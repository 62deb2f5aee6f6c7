// GraphView: Netron in a frame, and beside it a list of nodes, the chosen one, and the profile.

const KEY = Symbol.for("onnxshap.netron");
const SIDES = ["forward", "reference", "points", "seed", "backward"];
const LISTED = 300;

// --- Netron's files ------------------------------------------------------------------------------

/** JSON of a gzipped buffer. */
export async function unpacked(bytes) {
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  return JSON.parse(await new Response(stream).text());
}

/** Addresses of modules that import one another; `make` turns a text into an address. */
export function addresses(modules, make) {
  const urls = {};
  const visit = (name) => {
    if (name in urls) return;
    urls[name] = null;
    for (const [, , , other] of modules[name].matchAll(IMPORT)) if (modules[other]) visit(other);
    urls[name] = make(rewired(modules[name], urls));
  };
  Object.keys(modules).forEach(visit);
  return urls;
}

const IMPORT = /(from\s+|import\()(['"])\.\/([\w-]+)\.js\2/g;

/** A module's text with the addresses of what it imports; what has none is left as it is. */
export function rewired(text, urls) {
  return text.replace(IMPORT, (whole, before, quote, name) =>
    urls[name] ? `${before}${quote}${urls[name]}${quote}` : whole);
}

/** Netron as addresses, made once a page and version: the one thing that views share. */
function netron(bytes, version) {
  const kept = (globalThis[KEY] ??= new Map());
  if (!kept.has(version)) {
    kept.set(version, unpacked(bytes).then((files) => {
      const script = (text) => URL.createObjectURL(new Blob([text], { type: "text/javascript" }));
      const page = files.page.replace("</head>", () =>
        `<script type="module" src="${script(files.frame)}"></script></head>`);
      return {
        page: URL.createObjectURL(new Blob([page], { type: "text/html" })),
        urls: addresses(files.modules, script),
        assets: files.assets,
        css: files.css,
      };
    }));
  }
  return kept.get(version);
}

// --- nodes ---------------------------------------------------------------------------------------

/** Nodes as objects, from columns; `of` becomes a name, `stands` who stands for it on view. */
export function nodeTable(columns, stands) {
  const { names, rules, formulas } = columns;
  return names.map((name, i) => ({
    name,
    operator: columns.operators[i],
    side: SIDES[columns.sides[i]],
    rule: rules[columns.rule[i]],
    formula: formulas[columns.formula[i]],
    of: names[columns.of[i]] ?? "",
    reads: columns.reads[i],
    makes: columns.makes[i],
    shown: names[stands[i]] ?? "",
  }));
}

/** Nodes in which every word of the query occurs. */
export function matching(nodes, query) {
  const words = query.toLowerCase().split(/\s+/).filter(Boolean);
  const text = (n) => `${n.name} ${n.operator} ${n.side} ${n.rule}`.toLowerCase();
  return nodes.filter((node) => words.every((word) => text(node).includes(word)));
}

/** The nodes a node belongs with: its forward node and copies; of what runs backward, the last. */
export function partners(nodes, name) {
  const node = nodes.find((n) => n.name === name);
  if (!node) return [];
  const forward = node.of || (node.side === "forward" ? node.name : "");
  if (!forward) return [];
  const family = nodes.filter((n) => n.name === forward || n.of === forward);
  return SIDES.flatMap((side) => family.filter((n) => n.side === side).slice(-1))
    .filter((n) => n.side !== node.side);
}

/** The profile's point that belongs to a node, or to the forward node it belongs to; else -1. */
export function cutOf(profile, nodes, name) {
  const own = nodes.find((n) => n.name === name)?.of || name;
  return name && profile.nodes ? profile.nodes.indexOf(own) : -1;
}

// --- pictures ------------------------------------------------------------------------------------

/** Places of the profile's points, and of its lines at 0 and at the difference. */
export function profilePlaces(sums, difference, width, height) {
  const values = [0, difference, ...sums.filter(Number.isFinite)];
  const low = Math.min(...values);
  const high = Math.max(...values);
  const margin = { x: 8, y: 8 };
  const span = high - low || 1;
  const y = (v) => margin.y + (height - 2 * margin.y) * (1 - (v - low) / span);
  const x = (i) => margin.x + (width - 2 * margin.x) * (sums.length > 1 ? i / (sums.length - 1) : 0.5);
  return { points: sums.map((s, i) => ({ x: x(i), y: y(s) })), zero: y(0), difference: y(difference) };
}

/** Draw an attribution map on a canvas of its own size; magenta where it is not finite. */
function drawMap(canvas, { height, width, limit }, values) {
  canvas.width = width;
  canvas.height = height;
  const context = canvas.getContext("2d");
  context.fillStyle = "magenta";
  context.fillRect(0, 0, width, height);
  const look = { scale: scaleOf("signed", "RdBu_r"), limit, photo: false };
  context.drawImage(layer(width, height, (rgba) => paint(rgba, values, look)), 0, 0);
}

function svg(tag, attributes, ...children) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...children);
  return made;
}

/** The colours of this notebook's theme, for the frame: it is another document. */
function themeOf(root) {
  const style = getComputedStyle(root);
  const names = ["ink", "muted", "line", "surface", "raised", "accent", ...SIDES];
  const colours = Object.fromEntries(
    names.map((n) => [`--ox-${n}`, style.getPropertyValue(`--ox-${n}`).trim()]));
  const [r, g, b] = (style.color.match(/[\d.]+/g) ?? [0, 0, 0]).map(Number);
  return { dark: 0.3 * r + 0.6 * g + 0.1 * b > 140, colours };
}

// --- the view ------------------------------------------------------------------------------------

function render({ model, el }) {
  const began = performance.now();
  const data = (name) => model.get(name);
  const put = (name, value) => { model.set(name, value); model.save_changes(); };
  // Node and cut go together, in one message: the kernel's answer to an older one comes too late.
  const choose = (name, cut = cutOf(data("_profile"), nodes, name)) => {
    model.set("_cut", cut);
    put("selected", name);
  };
  let nodes = nodeTable(data("_nodes"), data("_stands"));
  const layers = nodes.filter((n) => n.side === "forward");
  const count = nodes.length;

  // Controls
  const option = (value, label) => element("option", { value, textContent: label });
  const kind = element("select", { "aria-label": "What to show" },
    option("overview", "Overview"), option("layer", "One layer"), option("around", "Around a node"),
    option("depth", "Layers by depth"), option("whole", `Whole graph${data("_warning")}`));
  const layerList = element("select", { "aria-label": "Layer" },
    ...layers.map((n, i) => option(n.name, `${i}  ${n.operator}  ${n.name}`)));
  const box = (label, max) => element("input",
    { type: "number", min: 0, max, "aria-label": label, className: "ox-number" });
  const hops = box("Edges away", 9);
  const first = box("First layer", layers.length - 1);
  const last = box("Last layer", layers.length - 1);
  const only = (name, ...children) => element("span", { className: "ox-only", "data-kind": name }, ...children);
  const bar = element("div", { className: "ox-tools", role: "toolbar", "aria-label": "Graph" },
    kind,
    only("layer", layerList),
    only("around", element("label", {}, "edges away ", hops)),
    only("depth", element("label", {}, "from ", first), element("label", {}, " to ", last)),
    element("span", { className: "ox-space" }),
    button("−", "Zoom out", () => send("zoom", { by: 0.8 })),
    button("+", "Zoom in", () => send("zoom", { by: 1.25 })),
    button("Fit", "Fit the whole graph", () => send("fit")));
  const legend = element("div", { className: "ox-legend" },
    ...Object.entries(data("_counts")).map(([side, n]) => element("span", {},
      element("i", { className: `ox-side ox-side-${side}` }), `${side} `,
      element("b", { className: "ox-numbers", textContent: n }))));
  const query = element("input", { type: "search", "aria-label": "Search nodes", placeholder: `Search ${count} nodes` });
  const list = element("select", { size: 7, "aria-label": "Nodes" });
  const facts = element("div", { className: "ox-facts", "aria-live": "polite" });
  const chart = element("div", { className: "ox-profile" });
  const about = element("div", { className: "ox-muted ox-about", role: "status" });
  const frame = element("iframe", { title: "Graph drawn by Netron", className: "ox-frame" });
  const cover = element("div", { className: "ox-cover" });
  const root = element("div", { className: `onnxshap ox-graph${data("_profile").cuts ? " ox-tall" : ""}` },
    element("div", { className: "ox-head" },
      element("span", { className: "ox-title", textContent: data("title") }), legend),
    bar,
    element("div", { className: "ox-main" },
      element("div", { className: "ox-canvas" }, frame, cover),
      element("div", { className: "ox-panel" }, query, list, facts, chart)),
    about);
  keepKeys(root);
  el.append(root);

  // The frame
  const state = (name, text = "") => {
    root.dataset.state = name;
    cover.textContent = text;
  };
  const send = (type, more = {}) =>
    frame.contentWindow?.postMessage({ type, ...more }, "*");
  const shownName = (name) => nodes.find((n) => n.name === name)?.shown ?? "";
  const chosen = () => ({
    name: shownName(data("selected")),
    partners: partners(nodes, data("selected")).map((n) => n.shown).filter(Boolean),
  });
  const open = () => {
    state("drawing", "Drawing the graph …");
    const view = data("_graph");
    send("open", { bytes: new Uint8Array(view.buffer, view.byteOffset, view.byteLength), ...chosen() });
  };
  let files = null;
  let timed = false;
  const answers = {
    loaded: () => send("start", { ...files, page: undefined, theme: themeOf(root) }),
    ready: open,
    shown: ({ ms, boxed }) => {
      state("shown");
      root.dataset.boxed = boxed;
      root.dataset.drawMs = ms;
      root.dataset.nodes = nodes.filter((n) => n.shown === n.name).length;
      if (!timed) root.dataset.loadMs = Math.round(performance.now() - began);
      timed = true;
    },
    slow: () => cover.append(button("Cancel", "Cancel the drawing", () => send("cancel"))),
    chosen: ({ name }) => choose(name),
    failed: ({ text }) => state("failed", text),
  };
  const hear = ({ data: message, source }) => {
    if (source === frame.contentWindow && message?.onnxshap) answers[message.type]?.(message);
  };
  window.addEventListener("message", hear);
  // Netron measures text: it can be started only where it is seen, not in a closed tab.
  const seen = new ResizeObserver(async () => {
    if (!root.clientWidth) return;
    seen.disconnect();
    state("drawing", "Loading Netron …");
    try {
      const packed = data("_netron");
      files = await netron(new Uint8Array(packed.buffer, packed.byteOffset, packed.byteLength), data("_version"));
      frame.src = files.page;
    } catch (error) {
      state("failed", String(error.message ?? error));
    }
  });
  if (data("_error")) state("failed", data("_error"));
  else seen.observe(root);

  const dress = () => send("theme", { theme: themeOf(root) });
  const themes = new MutationObserver(dress);
  for (const watched of [document.documentElement, document.body]) {
    themes.observe(watched, { attributes: true, attributeFilter: ["class", "style", "data-jp-theme-name"] });
  }

  // The panel
  const fillList = () => {
    const found = matching(nodes, query.value);
    list.replaceChildren(...found.slice(0, LISTED).map((n) =>
      element("option", { value: n.name, textContent: `${n.operator}  ${n.name}`, className: `ox-text-${n.side}` })));
    if (found.length > LISTED) {
      list.append(element("option", { disabled: true, textContent: `… and ${found.length - LISTED} more` }));
    }
    if (!found.length) list.append(element("option", { disabled: true, textContent: "no node matches" }));
    list.value = data("selected");
  };
  const layerOf = (name) => {
    const node = nodes.find((n) => n.name === name);
    return node ? node.of || node.name : layers[0].name;
  };
  const goTo = (name, label) => button(name, label, () => choose(name));
  const row = (label, ...content) => [element("dt", { textContent: label }), element("dd", {}, ...content)];
  const fillFacts = () => {
    const node = nodes.find((n) => n.name === data("selected"));
    root.dataset.selected = data("selected");
    if (!node) {
      facts.replaceChildren(element("p", { className: "ox-muted",
        textContent: "Choose a node: in the graph, or in the list above." }));
      return;
    }
    const stood = nodes.filter((n) => n.shown && n.shown === node.shown).length;
    const forward = nodes.find((n) => n.name === node.of);
    const heading = stood > 1 && forward ? `${forward.operator} backward` : node.operator;
    const rows = [...row("side", element("i", { className: `ox-side ox-side-${node.side}` }), node.side)];
    if (stood > 1) rows.push(...row("here", `one for ${stood} nodes`));
    if (node.rule) rows.push(...row("rule", node.rule));
    if (node.formula) rows.push(...row("formula", element("span", { className: "ox-formula", textContent: node.formula })));
    for (const other of partners(nodes, node.name)) {
      rows.push(...row(other.side, goTo(other.name, `Go to the ${other.side} node ${other.name}`)));
    }
    const values = (names) => element("div", { className: "ox-values", textContent: names.join(", ") });
    rows.push(...row("reads", values(node.reads)), ...row("makes", values(node.makes)));
    facts.replaceChildren(
      element("div", { className: "ox-node" },
        element("b", { textContent: heading }), " ",
        element("span", { className: "ox-muted", textContent: node.name })),
      element("dl", {}, ...rows),
      ...(data("_shown").kind === "layer" || data("_shown").kind === "whole" || !layerOf(node.name) ? []
        : [button("Show this layer", `Show the layer of ${node.name}`, () => show({ kind: "layer", node: layerOf(node.name) })), " "]),
      button("Attributes and weights", "Attributes and weights, in Netron's side bar",
        () => send("properties", { name: shownName(node.name) })));
  };
  const fillChart = () => {
    const profile = data("_profile");
    chart.hidden = !profile.cuts;
    if (!profile.cuts) return;
    const { cuts, sums, difference } = profile;
    const [width, height] = [280, 60];
    const places = profilePlaces(sums, difference, width, height);
    const at = data("_cut");
    const line = (y, name) => svg("line", { x1: 0, x2: width, y1: y, y2: y, class: name });
    const said = (i) => `${cuts[i]}: sum ${number(sums[i])}`;
    const dots = places.points.map(({ x, y }, i) => {
      const dot = svg("circle", { cx: x, cy: y, r: i === at ? 4.5 : cuts.length > 30 ? 2 : 3, class: i === at ? "ox-at" : "" },
        svg("title", {}, said(i)));
      dot.addEventListener("click", () => chooseCut(i));
      return dot;
    });
    const picture = svg("svg", {
      viewBox: `0 0 ${width} ${height}`, tabindex: 0, role: "slider", "aria-label": "Depth of the cut",
      "aria-valuemin": 0, "aria-valuemax": cuts.length - 1, "aria-valuenow": Math.max(at, 0),
      "aria-valuetext": at < 0 ? "none chosen" : said(at),
    }, line(places.zero, "ox-zero"), line(places.difference, "ox-difference"),
    svg("text", { x: width, y: places.zero - 3 }, "0"),
    svg("polyline", { points: places.points.map((p) => `${p.x},${p.y}`).join(" ") }), ...dots);
    picture.addEventListener("keydown", ({ key }) => {
      const step = { ArrowRight: 1, ArrowUp: 1, ArrowLeft: -1, ArrowDown: -1, Home: -at, End: cuts.length - 1 - at }[key];
      if (step === undefined) return;
      chooseCut(Math.max(0, Math.min(cuts.length - 1, at + step)));
    });
    const here = element("p", { className: "ox-numbers", textContent: at < 0
      ? `Sums of attributions at ${cuts.length} depths` : said(at) });
    const focused = chart.contains(document.activeElement);
    chart.replaceChildren(here, picture, element("p", { className: "ox-muted", textContent: minus(profile.note) }));
    if (focused) picture.focus();
    const map = data("_map");
    if (at >= 0 && map.height) {
      const canvas = element("canvas", { role: "img", "aria-label": `Attributions of ${cuts[at]}, ${map.note}` });
      drawMap(canvas, map, floats(data("_map_values")));
      chart.append(canvas, element("p", { className: "ox-muted", textContent: map.note }));
    }
  };
  const chooseCut = (index) => choose(data("_profile").nodes[index], index);
  const fillBar = () => {
    const shown = data("_shown");
    kind.value = shown.kind;
    for (const part of bar.querySelectorAll(".ox-only")) part.hidden = part.dataset.kind !== shown.kind;
    layerList.value = layerOf(shown.node);
    hops.value = shown.hops ?? 2;
    first.value = shown.first ?? 0;
    last.value = shown.last ?? 0;
    about.textContent = data("_about");
  };
  const show = (shown) => {
    if (JSON.stringify(shown) === JSON.stringify(data("_shown"))) return;
    state("drawing", "Asking the kernel …");
    put("_shown", shown);
  };
  kind.addEventListener("change", () => show({
    overview: { kind: "overview" },
    whole: { kind: "whole" },
    layer: { kind: "layer", node: layerOf(data("selected")) },
    around: { kind: "around", node: data("selected") || layers[0].name, hops: 2 },
    depth: { kind: "depth", first: 0, last: Math.min(3, layers.length - 1) },
  }[kind.value]));
  layerList.addEventListener("change", () => show({ kind: "layer", node: layerList.value }));
  hops.addEventListener("change", () => show({ ...data("_shown"), hops: Number(hops.value) }));
  for (const end of [first, last]) {
    end.addEventListener("change", () => show({ kind: "depth",
      first: Math.min(Number(first.value), Number(last.value)), last: Math.max(Number(first.value), Number(last.value)) }));
  }
  query.addEventListener("input", fillList);
  list.addEventListener("change", () => choose(list.value));
  list.addEventListener("keydown", ({ key }) => {
    if (key === "Enter" && data("selected")) send("choose", { ...chosen(), centre: true });
  });

  const told = (message) => {
    if (message.focus !== undefined) send("choose", { ...chosen(), centre: true });
  };
  model.on("msg:custom", told);
  const stops = [
    () => model.off("msg:custom", told),
    onChange(model, ["selected"], () => {
      fillFacts();
      list.value = data("selected");
      send("choose", { ...chosen(), centre: true });
    }),
    onChange(model, ["_drawn"], () => {
      nodes = nodeTable(data("_nodes"), data("_stands"));
      fillBar();
      fillFacts();
      if (files) open();
    }),
    onChange(model, ["_profile", "_cut", "_map_values"], fillChart),
  ];
  fillList();
  fillFacts();
  fillChart();
  fillBar();

  return () => {
    stops.forEach((stop) => stop());
    seen.disconnect();
    themes.disconnect();
    window.removeEventListener("message", hear);
  };
}

export default { render };
