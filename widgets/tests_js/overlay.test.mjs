import assert from "node:assert/strict";
import test from "node:test";
import { load } from "./load.mjs";

const m = await load("maps", "overlay");
const close = (a, b, bound = 1e-12) => assert.ok(Math.abs(a - b) <= bound, `${a} is not ${b}`);

// --- colours and limits ----------------------------------------------------------------------------

test("colour tables run from end to end, diverging ones through near white", () => {
  const table = m.colourTable("RdBu_r");
  assert.deepEqual([...table.slice(0, 3)], [0x05, 0x30, 0x61]);
  assert.deepEqual([...table.slice(-3)], [0x67, 0x00, 0x1f]);
  for (const value of table.slice(3 * 127, 3 * 129)) assert.ok(value > 240);
});

test("a scale says which part of a colour map a sign takes", () => {
  assert.deepEqual(m.scaleOf("absolute", "PuOr_r"), { cmap: "magma_r", from: 0, to: 1, low: 0, high: 1 });
  assert.deepEqual(m.scaleOf("positive", "PuOr_r"), { cmap: "PuOr_r", from: 0.5, to: 1, low: 0, high: 1 });
  assert.deepEqual(m.scaleOf("negative", "RdBu_r"), { cmap: "RdBu_r", from: 0, to: 0.5, low: -1, high: 0 });
});

test("signs keep their part, and what is not a number", () => {
  const values = Float64Array.of(-2, 0, 3, NaN);
  assert.deepEqual([...m.keepSign(values, "positive")], [0, 0, 3, NaN]);
  assert.deepEqual([...m.keepSign(values, "negative")], [-2, 0, 0, NaN]);
  assert.deepEqual([...m.keepSign(values, "absolute")], [2, 0, 3, NaN]);
  assert.equal(m.keepSign(values, "signed"), values);
});

test("magnitudes are finite, sorted and of all maps", () => {
  assert.deepEqual([...m.magnitudes([3, -1, NaN], [Infinity, 2])], [1, 2, 3]);
  assert.deepEqual([...m.magnitudes([NaN])], []);
});

test("percentiles are linear between neighbours", () => {
  assert.equal(m.percentile([1, 2, 4], 50), 2);
  close(m.percentile([1, 2, 4], 75), 3);
  assert.equal(m.percentile([5], 99.9), 5);
  assert.equal(m.percentile([], 50), 0);
});

test("where the percentile of a sparse map is 0 its largest value is the limit", () => {
  assert.equal(m.limitOf([0, 0, 0, 7], 50), 7);
  assert.equal(m.limitOf([0, 0], 99.9), 0);
  assert.equal(m.limitOf([], 99.9), 0);
});

test("the clipped share counts what is strictly above the limit", () => {
  assert.equal(m.clippedShare([1, 2, 2, 3], 2), 0.25);
  assert.equal(m.clippedShare([1, 2], 5), 0);
  assert.equal(m.clippedShare([], 1), 0);
});

// --- painting ------------------------------------------------------------------------------------

const painted = (values, options) =>
  [...m.paint(new Uint8ClampedArray(4 * values.length), values, { scale: m.scaleOf("signed", "RdBu_r"), limit: 1, ...options })];

test("opacity grows with the value, as in the still picture", () => {
  const rgba = painted([0, 0.5, -1, 9, NaN]);
  assert.deepEqual([3, 7, 11, 15, 19].map((i) => rgba[i]), [0, Math.round(255 * 0.5 ** 0.75), 255, 255, 0]);
  assert.deepEqual(rgba.slice(8, 11), [0x05, 0x30, 0x61]);
  assert.deepEqual(rgba.slice(12, 15), [0x67, 0x00, 0x1f]);
});

test("opacity is uniform where asked for, and full without a photo", () => {
  assert.deepEqual([3, 7].map((i) => painted([0, 1], { uniform: true, opacity: 0.4 })[i]), [102, 102]);
  assert.deepEqual([3, 7].map((i) => painted([0, 1], { photo: false, opacity: 0.4 })[i]), [255, 255]);
});

test("a map of zeros is painted, not divided by its limit", () => {
  assert.equal(painted([0], { limit: 0, photo: false })[3], 255);
});

// --- maps ----------------------------------------------------------------------------------------

test("channels are summed, or the largest or one of them taken", () => {
  const values = Float32Array.of(1, 2, -3, 4, NaN, 6);
  const shape = [3, 1, 2];
  assert.deepEqual([...m.overChannels(values, shape, "sum")], [NaN, 12]);
  assert.deepEqual([...m.overChannels(values, shape, "max-abs")], [NaN, 6]);
  assert.deepEqual([...m.overChannels(values.subarray(0, 4), [2, 1, 2], "max-abs")], [-3, 4]);
  assert.deepEqual([...m.overChannels(values, shape, "1")], [-3, 4]);
});

test("squares keep the sum, also where the last are cut", () => {
  const values = Float64Array.from({ length: 35 }, (_, i) => i);
  const sums = m.inSquares(values, 7, 5, 3);
  assert.equal(sums.length, 3 * 2);
  assert.equal(sums.reduce((a, b) => a + b), 595);
  assert.equal(sums[0], 0 + 1 + 2 + 7 + 8 + 9 + 14 + 15 + 16);
  assert.equal(m.inSquares(values, 7, 5, 1), values);
});

test("a rectangle's sum is in float64 and leaves out what is not finite", () => {
  const map = Float64Array.from({ length: 1000 }, () => Math.fround(0.1));
  map[0] = NaN;
  map[999] = -5;
  const found = m.sumOver(map, 100, { x0: 0, y0: 0, x1: 100, y1: 10 });
  close(found.up, 998 * Math.fround(0.1), 1e-9);
  assert.deepEqual([found.down, found.left], [-5, 1]);
  assert.equal(m.sumOver(map, 100, m.spanned({ x: 99, y: 9 }, { x: 99, y: 9 })).sum, -5);
});

// --- views ---------------------------------------------------------------------------------------

test("zooming keeps the point under the pointer and stays in the picture", () => {
  const whole = { x: 0, y: 0, size: 1 };
  const near = m.zoomed(whole, 4, { x: 0.25, y: 0.75 });
  close(near.x + 0.25 * near.size, 0.25);
  close(near.y + 0.75 * near.size, 0.75);
  assert.deepEqual(m.zoomed(near, 0.01), whole);
  assert.equal(m.zoomed(whole, 1e9).size, 1 / 32);
  assert.deepEqual(m.within({ x: -3, y: 5, size: 0.5 }), { x: 0, y: 0.5, size: 0.5 });
});

test("cells get whole screen pixels where that costs little room", () => {
  assert.deepEqual(m.displaySize(224, 224, 480), { width: 448, height: 448 });
  assert.deepEqual(m.displaySize(224, 224, 340), { width: 340, height: 340 });
  assert.deepEqual(m.displaySize(224, 224, 340, 2), { width: 336, height: 336 });
  assert.deepEqual(m.displaySize(1024, 512, 480), { width: 480, height: 240 });
  assert.equal(m.displaySize(10, 1000, 480).height, 560);
});

// --- text ----------------------------------------------------------------------------------------

test("numbers have four digits, a sign and a true minus", () => {
  assert.deepEqual([1.23456, -0.5, 0, -1e-7, 123456, 2.5e9].map((v) => m.number(v)),
    ["+1.235", "−0.5", "0", "−1e−7", "+123500", "+2.5e9"]);
  assert.equal(m.number(NaN), "not finite");
  assert.equal(m.number(0.0184509, 2), "+0.018");
});

test("shares have the digits they need", () => {
  assert.deepEqual([0, 0.001, 0.05, 0.261, 1.17, -0.3].map(m.percent), ["0 %", "0.10 %", "5.0 %", "26 %", "117 %", "−30 %"]);
});

test("only numbers get a true minus", () => {
  assert.equal(m.minus("-2.1e-06, x-ray -3 (-4) 2024-01-02 a -b"), "−2.1e−06, x-ray −3 (−4) 2024-01-02 a -b");
});
