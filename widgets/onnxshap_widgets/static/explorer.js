// The explorer is made of plain controls: this keeps their keys from JupyterLab's commands.

/** Call `found` with the nearest element around `el` that matches, once `el` is in the page. */
function around(el, selector, found) {
  let frame = 0;
  const look = () => {
    const root = el.closest(selector);
    if (root) found(root);
    else frame = requestAnimationFrame(look);
  };
  look();
  return () => cancelAnimationFrame(frame);
}

export default {
  render({ el }) {
    el.hidden = true;
    return around(el, ".oxa-explorer", keepKeys);
  },
};
