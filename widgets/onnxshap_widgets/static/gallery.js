/** Place of the item that a key leads to, in rows of `columns`; null where the key leads nowhere. */
export function moved(place, key, count, columns) {
  const steps = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -columns, ArrowDown: columns };
  if (!count) return null;
  if (key === "Home") return 0;
  if (key === "End") return count - 1;
  if (!Object.hasOwn(steps, key)) return null;
  const next = place + steps[key];
  return next >= 0 && next < count ? next : place;
}

/** What is chosen after a click: that item alone, or with it ticked or unticked. */
export function clicked(chosen, place, multiple) {
  if (!multiple) return [place];
  const others = chosen.filter((other) => other !== place);
  return others.length < chosen.length ? others : [...others, place].sort((a, b) => a - b);
}

/** What is chosen after shift and a click: all from one place to another made like the first. */
export function stretched(chosen, from, to) {
  const range = Array.from({ length: Math.abs(to - from) + 1 }, (_, i) => Math.min(from, to) + i);
  const others = chosen.filter((place) => !range.includes(place));
  return chosen.includes(from) ? [...others, ...range].sort((a, b) => a - b) : others;
}

/** How many tiles stand beside the first, by where each begins. */
export function columnsOf(tops) {
  const below = tops.findIndex((top) => top > tops[0]);
  return Math.max(1, below < 0 ? tops.length : below);
}

export default {
  render({ model, el }) {
    const box = element("div", { className: "ox-tiles" });
    const root = element("div", { className: "onnxshap ox-gallery" }, box);
    keepKeys(root);
    el.append(root);
    let tiles = [];
    let urls = [];
    let current = 0; // the tile that Tab leads to
    const pictures = lazily(box, (url) => urls.push(url));

    function draw() {
      const items = model.get("_items");
      const multiple = model.get("multiple");
      const focused = root.contains(document.activeElement);
      drop();
      box.setAttribute("role", multiple ? "group" : "radiogroup");
      box.setAttribute("aria-label", model.get("label"));
      box.style.maxHeight = `${model.get("height")}px`;
      root.classList.toggle("ox-multiple", multiple);
      const list = items.length > 0 && !items.some((item) => item.picture);
      root.classList.toggle("ox-list", list);
      root.dataset.count = items.length;
      tiles = items.map((item, place) => tile(item, place, multiple, list));
      box.replaceChildren(...tiles);
      box.scrollTop = 0;
      current = Math.min(model.get("chosen")[0] ?? 0, Math.max(0, tiles.length - 1));
      mark();
      if (focused) tiles[current]?.focus({ preventScroll: true });
    }

    function tile(item, place, multiple, list) {
      const said = [item.caption, item.detail].filter(Boolean).join(", ");
      const made = element("button", {
        type: "button", className: "ox-tile", title: said, "aria-label": said,
        role: multiple ? "checkbox" : "radio",
      });
      const tick = multiple ? [element("span", { className: "ox-tick", "aria-hidden": "true" })] : [];
      const caption = element("span", { className: "ox-caption" }, item.caption);
      const detail = element("span", { className: "ox-detail" }, item.detail);
      if (list) made.append(...tick, caption, detail);
      else {
        const face = element("span", { className: "ox-face" }, ...(item.picture ? [] : [detail]), ...tick);
        if (item.picture) pictures.watch(face, item.picture);
        made.append(face, caption);
      }
      made.addEventListener("click", (event) => {
        made.focus({ preventScroll: true }); // JupyterLab takes the focus from a shift-click
        choose(place, event.shiftKey);
      });
      return made;
    }

    function choose(place, shift = false) {
      const [chosen, multiple] = [model.get("chosen"), model.get("multiple")];
      const next = multiple && shift ? stretched(chosen, current, place) : clicked(chosen, place, multiple);
      current = place;
      model.set("chosen", next);
      model.save_changes();
      mark();
    }

    function mark() {
      const chosen = new Set(model.get("chosen"));
      tiles.forEach((made, place) => {
        made.setAttribute("aria-checked", String(chosen.has(place)));
        made.tabIndex = place === current ? 0 : -1;
      });
      root.dataset.chosen = [...chosen].join(" ");
      const first = tiles[current];
      if (first && chosen.has(current)) show(first);
    }

    /** Scroll the gallery, and never the page. */
    function show(made) {
      const [top, bottom] = [made.offsetTop, made.offsetTop + made.offsetHeight];
      if (top < box.scrollTop) box.scrollTop = top - 4;
      else if (bottom > box.scrollTop + box.clientHeight) box.scrollTop = bottom + 4 - box.clientHeight;
    }

    function onKey(event) {
      if (event.altKey || event.ctrlKey || event.metaKey) return;
      const columns = columnsOf(tiles.map((made) => made.offsetTop));
      const next = moved(current, event.key, tiles.length, columns);
      if (next === null) return;
      event.preventDefault();
      current = next;
      if (!model.get("multiple")) choose(next);
      else mark();
      tiles[next].focus({ preventScroll: true });
      show(tiles[next]);
    }

    function outside() {
      const [chosen] = model.get("chosen");
      if (!model.get("multiple") && chosen !== undefined) current = chosen;
      mark();
    }

    function drop() {
      pictures.forget();
      for (const url of urls) URL.revokeObjectURL(url);
      urls = [];
    }

    box.addEventListener("keydown", onKey);
    const stops = [
      onChange(model, ["_items", "multiple", "label", "height"], later(draw)),
      onChange(model, ["chosen"], outside),
    ];
    draw();
    return () => {
      stops.forEach((stop) => stop());
      drop();
    };
  },
};

/** Make pictures of PNG bytes when their tile comes into view; a thousand need not be decoded. */
function lazily(box, onUrl) {
  const waiting = new Map();
  const load = (face) => {
    const view = waiting.get(face);
    if (!view) return;
    waiting.delete(face);
    const url = URL.createObjectURL(new Blob([view], { type: "image/png" }));
    onUrl(url);
    face.prepend(element("img", { src: url, alt: "", draggable: false }));
  };
  const observer = new IntersectionObserver(
    (entries) => entries.filter((e) => e.isIntersecting).forEach(({ target }) => {
      observer.unobserve(target);
      load(target);
    }),
    { rootMargin: "200px" },
  );
  return {
    watch(face, view) {
      waiting.set(face, view);
      observer.observe(face);
    },
    forget() {
      observer.disconnect();
      waiting.clear();
    },
  };
}
