import assert from "node:assert/strict";
import { gzipSync } from "node:zlib";
import test from "node:test";
import { load } from "./load.mjs";

const m = await load("maps", "graph");

const columns = {
  names: ["conv", "reference/conv", "back/conv/A", "back/conv/B", "relu", "sizes"],
  operators: ["Conv", "Conv", "Reshape", "ConvTranspose", "Relu", "Shape"],
  sides: [0, 1, 4, 4, 0, 3],
  rules: ["", "exact-linear"],
  rule: [0, 0, 1, 1, 0, 0],
  formulas: ["", "dx = g W'"],
  formula: [0, 0, 1, 1, 0, 0],
  of: [-1, 0, 0, 0, -1, -1],
  reads: [["x"], ["r"], [], [], ["c"], []],
  makes: [["c"], [], [], [], [], []],
};
const nodes = m.nodeTable(columns, [0, 1, 3, 3, 4, -1]);

test("columns become nodes", () => {
  assert.deepEqual(nodes[2], {
    name: "back/conv/A", operator: "Reshape", side: "backward", rule: "exact-linear",
    formula: "dx = g W'", of: "conv", reads: [], makes: [], shown: "back/conv/B",
  });
  assert.equal(nodes[0].of, "");
  assert.equal(nodes[5].shown, "");
});

test("every word of a query must occur, in name, operator, side or rule", () => {
  const found = (query) => m.matching(nodes, query).map((n) => n.name);
  assert.equal(found("").length, 6);
  assert.deepEqual(found("CONV backward"), ["back/conv/A", "back/conv/B"]);
  assert.deepEqual(found("linear reshape"), ["back/conv/A"]);
  assert.deepEqual(found("<img"), []);
});

test("partners lead there and back: one a side, the last of those that run backward", () => {
  const of = (name) => m.partners(nodes, name).map((n) => n.name);
  assert.deepEqual(of("conv"), ["reference/conv", "back/conv/B"]);
  assert.deepEqual(of("back/conv/A"), ["conv", "reference/conv"]);
  assert.deepEqual(of("relu"), []);
  assert.deepEqual(of("sizes"), []);
  assert.deepEqual(of("nothing"), []);
});

test("a node's point of the profile is that of its forward node", () => {
  const profile = { nodes: ["", "conv", "relu"] };
  assert.equal(m.cutOf(profile, nodes, "conv"), 1);
  assert.equal(m.cutOf(profile, nodes, "back/conv/A"), 1);
  assert.equal(m.cutOf(profile, nodes, "sizes"), -1);
  assert.equal(m.cutOf(profile, nodes, ""), -1);
  assert.equal(m.cutOf({}, nodes, "conv"), -1);
});

test("modules get addresses after those they import; a circle ends", () => {
  const modules = {
    view: "import * as base from './base.js';\nconst z = await import('./zip.js');",
    base: "import { v } from \"./view.js\";",
    zip: "await import('./python.js');",
  };
  const made = [];
  const urls = m.addresses(modules, (text) => `blob:${made.push(text)}`);
  assert.deepEqual(Object.keys(urls).sort(), ["base", "view", "zip"]);
  assert.deepEqual([urls.base, urls.zip, urls.view], ["blob:1", "blob:2", "blob:3"]);
  assert.equal(made[2], "import * as base from 'blob:1';\nconst z = await import('blob:2');");
  assert.equal(made[1], "await import('./python.js');"); // another format's: never asked for
});

test("only imports are rewired", () => {
  assert.equal(m.rewired("say('./base.js'); x from './base.js'", { base: "B" }), "say('./base.js'); x from 'B'");
});

test("packed files come out as they went in", async () => {
  const files = { page: "<p>é</p>", modules: { a: "1" } };
  assert.deepEqual(await m.unpacked(gzipSync(JSON.stringify(files))), files);
});

test("a profile's points span the chart, from 0 to what they should be", () => {
  const { points, zero, difference } = m.profilePlaces([2, 2, 1], 2, 116, 56);
  assert.deepEqual(points.map((p) => p.x), [8, 58, 108]);
  assert.deepEqual(points.map((p) => p.y), [8, 8, 28]);
  assert.deepEqual([zero, difference], [48, 8]);
  const negative = m.profilePlaces([-3], -3, 116, 56);
  assert.deepEqual([negative.points[0].x, negative.points[0].y, negative.zero], [58, 48, 8]);
  assert.ok(Number.isFinite(m.profilePlaces([0], 0, 116, 56).points[0].y));
});
