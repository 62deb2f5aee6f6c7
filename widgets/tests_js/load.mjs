// A widget's module as the browser gets it: its files as one text.
import { readFile } from "node:fs/promises";

export async function load(...names) {
  const read = (name) => readFile(new URL(`../onnxshap_widgets/static/${name}.js`, import.meta.url), "utf8");
  const text = (await Promise.all(["lib", ...names].map(read))).join("\n");
  return import(`data:text/javascript;charset=utf-8,${encodeURIComponent(text)}`);
}
