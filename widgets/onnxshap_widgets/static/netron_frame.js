// Runs inside the frame, beside Netron's own modules: shows models it is sent, tells what is chosen.
//
// Messages in: start {urls, assets, css, theme}, theme {theme}, open {bytes, name, partners}, cancel,
// choose {name, partners, centre}, properties {name}, zoom {by}, fit. Messages out: loaded, ready,
// shown {ms, boxed}, slow, chosen {name}, failed {text}.

const tell = (type, more = {}) => parent.postMessage({ onnxshap: true, type, ...more }, "*");
const part = (id) => document.getElementById(id);
let viewer = null;
let chosen = null;
let cancel = () => {};
let [next, drawing, failure] = [null, null, null];
let boxed = true;

const actions = {
  async start({ urls, assets, css, theme }) {
    const style = document.createElement("style");
    style.textContent = css;
    document.head.append(style);
    actions.theme({ theme });
    const [{ Host }, { View }] = await Promise.all([import(urls.browser), import(urls.view)]);

    // Netron's page asks a server for its files, for the date of its build, and for consent to be
    // counted. This one has its files, and asks nothing.
    class Embedded extends Host {
      constructor() {
        super();
        this._environment.menu = false;
        this._environment.packaged = false;
      }
      async view(view) { this._view = view; }
      async start() { this._view.show("welcome spinner"); }
      async require(id) {
        const name = id.replace("./", "");
        if (!urls[name]) throw new Error(`Netron asks for ${name}, which only other formats need`);
        const found = await import(urls[name]);
        return name === "onnx" ? { ModelFactory: dressed(found.ModelFactory) } : found;
      }
      worker() {
        const worker = new Worker(urls.worker, { type: "module" });
        worker.addEventListener("message", ({ data }) => forwardFirst(data));
        return worker;
      }
      async asset(name) {
        if (!assets[name]) throw new Error(`no ${name}`);
        return assets[name];
      }
      /** Netron's notices: a slow layout, which waits to be cancelled, and errors. */
      message(text, alert, action) {
        if (alert) failure = text;
        if (action !== "Cancel") return Promise.resolve(0);
        tell("slow");
        return new Promise((resolve) => { cancel = resolve; });
      }
      openURL() {}
      event() {}
      exception(error) { failure ??= error.message; }
      get() { return undefined; }
      set() {}
      delete() {}
    }

    part("target").focus = () => {}; // Netron takes the focus when it draws; the notebook keeps it
    viewer = new View(new Embedded());
    await viewer.start();
    viewer.showNodeProperties = (node) => {
      chosen = node.name;
      tell("chosen", { name: node.name });
    };
    viewer.showTargetProperties = () => {};
    tell("ready");
  },

  /** Netron's dark colours are for dark systems; here the notebook's theme decides. */
  theme({ theme }) {
    for (const [name, value] of Object.entries(theme.colours)) {
      document.documentElement.style.setProperty(name, value);
    }
    document.documentElement.style.colorScheme = theme.dark ? "dark" : "light";
    for (const sheet of document.styleSheets) {
      for (const rule of sheet.cssRules) {
        if (!(rule instanceof CSSMediaRule)) continue;
        rule.ours ??= rule.conditionText.includes("prefers-color-scheme: dark");
        if (rule.ours) rule.media.mediaText = theme.dark ? "all" : "not all";
      }
    }
  },

  async open(message) {
    next = message;
    if (!drawing) drawing = draw().finally(() => { drawing = null; });
    await drawing;
  },

  choose({ name, partners = [], centre }) {
    if (!viewer?.target) return;
    for (const marked of document.querySelectorAll(".ox-partner")) marked.classList.remove("ox-partner");
    for (const node of found(partners)) viewer.target.find(node).element.classList.add("ox-partner");
    const [node] = found([name]);
    if (!node) return viewer.target.select(null);
    const elements = viewer.target.select([node]);
    if (centre && name !== chosen) viewer.target.scrollTo(elements, "instant");
    chosen = name;
  },

  properties({ name }) {
    const [node] = found([name]);
    if (node) Object.getPrototypeOf(viewer).showNodeProperties.call(viewer, node);
  },

  cancel() {
    cancel();
  },

  zoom({ by }) {
    if (viewer?.target) viewer.target.zoom *= by;
  },

  /** Zoom so that the graph fits. */
  fit() {
    if (!viewer?.target) return;
    const box = part("target");
    const { _width: width, _height: height } = viewer.target;
    viewer.target.zoom = Math.min(1, box.clientWidth / width, box.clientHeight / height);
    scroll({ left: (box.scrollWidth - box.clientWidth) / 2, top: 0 });
  },
};

/** Begin at the top: the whole width where it stays readable, else where the model begins. */
function stand() {
  const box = part("target");
  const fits = (box.clientWidth - 16) / viewer.target._width;
  viewer.target.zoom = Math.max(0.55, Math.min(1, fits));
  const margin = 70 * viewer.target.zoom;
  if (fits >= 0.55) return scroll({ left: (box.scrollWidth - box.clientWidth) / 2, top: margin });
  const drawn = [...viewer.target.nodes.values()].map((entry) => entry.label);
  const forward = drawn.filter((node) => node.value?.type?.category === "ox-forward");
  const [first] = forward.sort((a, b) => a.y - b.y);
  if (!first) return scroll({ left: 0, top: margin });
  const at = first.element.getBoundingClientRect();
  scroll({ left: box.scrollLeft + at.left - box.clientWidth / 3, top: box.scrollTop + at.top - 120 });
}

function scroll(place) {
  part("target").scrollTo(place);
  delete viewer.target._scrollLeft; // where Netron would go back to when it zooms
  delete viewer.target._scrollTop;
}

/** Draw what was asked for last; Netron draws one graph at a time. */
async function draw() {
  while (next) {
    const { bytes, name, partners } = next;
    const began = performance.now();
    const file = new File([bytes], "graph.onnx");
    next = chosen = failure = null;
    viewer._sidebar.close();
    boxed = true;
    await viewer.host._open(file, [file]);
    if (failure && !next) {
      // Netron's layout has faults with groups of some shapes; without them it is well tried.
      failure = null;
      boxed = false;
      await viewer.host._open(file, [file]);
    }
    if (next) continue;
    if (failure || !viewer.target) {
      tell("failed", { text: failure ?? "The drawing was cancelled." });
      continue;
    }
    for (const cluster of viewer.target.nodes.values()) {
      const [side, isCluster] = cluster.v.split("\n");
      if (isCluster) labelled(cluster.label, side);
    }
    stand();
    if (name) actions.choose({ name, partners, centre: true });
    tell("shown", { ms: Math.round(performance.now() - began), boxed: viewer.activeTarget.groups });
  }
}

/** Nodes of the graph on view that go by these names. */
function found(names) {
  const wanted = new Set(names);
  return viewer?.target ? viewer.activeTarget.nodes.filter((node) => wanted.has(node.name)) : [];
}

/** Netron's reader of ONNX, and then: nodes coloured and boxed by the side they are on. */
function dressed(ModelFactory) {
  return class extends ModelFactory {
    async open(context) {
      const model = await super.open(context);
      for (const graph of model.modules) {
        const sides = new Set();
        for (const node of graph.nodes) {
          const side = node.metadata.find((entry) => entry.name === "onnxshap.side")?.value ?? "forward";
          node.type = { ...node.type, category: `ox-${side}` };
          node.group = side;
          sides.add(side);
        }
        graph.groups = boxed && sides.size > 1;
      }
      return model;
    }
  };
}

/** Mirror a layout that has the backward side on the left: before Netron, which hears it next. */
function forwardFirst({ nodes = [], edges = [] }) {
  const at = (side) => nodes.find((node) => node.v.startsWith(`${side}\n`))?.x;
  if (!(at("backward") < at("forward"))) return;
  const width = Math.max(...nodes.map((node) => node.x + node.width / 2));
  for (const place of [...nodes, ...edges, ...edges.flatMap((edge) => edge.points)]) {
    if ("x" in place) place.x = width - place.x;
  }
}

/** Write a side's name over the corner of its box. */
function labelled(cluster, side) {
  const text = document.createElementNS("http://www.w3.org/2000/svg", "text");
  text.textContent = side;
  text.setAttribute("x", -cluster.width / 2);
  text.setAttribute("y", -cluster.height / 2 - 6);
  cluster.element.classList.add(`ox-cluster-${side}`);
  cluster.element.append(text);
}

addEventListener("message", async ({ data, source }) => {
  if (source !== parent || !actions[data?.type]) return;
  try {
    await actions[data.type](data);
  } catch (error) {
    tell("failed", { text: error.message });
  }
});
tell("loaded");
