import assert from "node:assert/strict";
import test from "node:test";
import { load } from "./load.mjs";

const m = await load("maps", "compare");

test("equal values share the mean of their ranks", () => {
  assert.deepEqual([...m.ranks([10, 20, 10, 5])], [1.5, 3, 1.5, 0]);
});

test("rank correlation sees order only", () => {
  const a = Float64Array.of(1, 2, 3, 4);
  assert.equal(m.rankCorrelation(a, a.map((v) => v ** 3)), 1);
  assert.equal(m.rankCorrelation(a, a.map((v) => -v)), -1);
  assert.ok(Number.isNaN(m.rankCorrelation(a, a.map(() => 1))));
});

test("top features go by magnitude, the earlier first among equals", () => {
  assert.equal(m.topOverlap([-9, 1, 1, 1], [0, 0, 0, 5], 0.25), 0);
  assert.equal(m.topOverlap([-9, 1, 1, 8], [3, 0, 0, 5], 0.5), 1);
  assert.equal(m.topOverlap([1, 1, 1, 1], [1, 1, 1, 1], 0.5), 1);
});

test("what is not finite on either side is left out", () => {
  const found = m.agree(Float64Array.of(1, NaN, 3, 4), Float64Array.of(1, 2, Infinity, 4), 0.5);
  assert.deepEqual([found.leftOut, found.rankCorrelation, found.relativeDifference, found.largestDifference], [2, 1, 0, 0]);
  assert.ok(Number.isNaN(m.agree([0, 0], [0, 0], 0.5).relativeDifference));
});

test("density counts every finite pair, ends included", () => {
  const counts = m.density([-1, 1, 0, 9, NaN], [-1, 1, 0, -9, 0], [1, 1], 4);
  assert.equal(counts.reduce((a, b) => a + b), 4);
  assert.deepEqual([counts[12], counts[3], counts[6], counts[15]], [1, 1, 1, 1]);
});

test("what shares a scale shares a limit", () => {
  const sorted = [[Float64Array.of(1, 2), Float64Array.of(3, 8)], [Float64Array.of(4, 5)]];
  assert.deepEqual(m.limitsOf(sorted, "panel", 100), [[2, 8], [5]]);
  assert.deepEqual(m.limitsOf(sorted, "row", 100), [[8, 8], [5]]);
  assert.deepEqual(m.limitsOf(sorted, "grid", 100), [[8, 8], [8]]);
});

test("two panels are chosen at most, and picking one again lets it go", () => {
  assert.deepEqual(m.choose([], [0, 1]), [[0, 1]]);
  assert.deepEqual(m.choose([[0, 1]], [1, 0]), [[0, 1], [1, 0]]);
  assert.deepEqual(m.choose([[0, 1], [1, 0]], [2, 2]), [[0, 1], [2, 2]]);
  assert.deepEqual(m.choose([[0, 1], [1, 0]], [0, 1]), [[1, 0]]);
});
