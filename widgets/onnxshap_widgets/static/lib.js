// What every widget's module starts with: put before it as text, since a widget is one module.

/** An element with properties, ARIA and data attributes, and children; text is never parsed. */
export function element(tag, properties = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name.includes("-") || name === "role" || name === "for") made.setAttribute(name, value);
    else made[name] = value;
  }
  made.append(...children);
  return made;
}

/** Keep keys from JupyterLab's notebook commands, which would insert or delete cells. */
export function keepKeys(root) {
  root.addEventListener("keydown", (event) => {
    if (!["Escape", "Tab"].includes(event.key)) event.stopPropagation();
  });
}

/** float32 values of a binary trait; copied, since a view may start at any byte. */
export function floats(view) {
  const bytes = new Uint8Array(view.buffer, view.byteOffset, view.byteLength);
  return new Float32Array(bytes.slice().buffer);
}

/** Call `handler` at each change of these traits; returns a function that stops it. */
export function onChange(model, names, handler) {
  const events = names.map((name) => `change:${name}`);
  for (const event of events) model.on(event, handler);
  return () => events.forEach((event) => model.off(event, handler));
}

/** Call once after a burst of changes, before the next paint. */
export function later(work) {
  let due = false;
  return () => {
    if (due) return;
    due = true;
    queueMicrotask(() => {
      due = false;
      work();
    });
  };
}
