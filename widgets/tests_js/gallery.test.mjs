import assert from "node:assert/strict";
import test from "node:test";
import { load } from "./load.mjs";

const m = await load("gallery");

test("arrow keys lead through rows of tiles, and stop at the ends", () => {
  // 0 1 2 3
  // 4 5 6
  const to = (place, key) => m.moved(place, key, 7, 4);
  assert.equal(to(1, "ArrowRight"), 2);
  assert.equal(to(3, "ArrowRight"), 4);
  assert.equal(to(6, "ArrowRight"), 6);
  assert.equal(to(1, "ArrowLeft"), 0);
  assert.equal(to(0, "ArrowLeft"), 0);
  assert.equal(to(1, "ArrowDown"), 5);
  assert.equal(to(3, "ArrowDown"), 3);
  assert.equal(to(5, "ArrowUp"), 1);
  assert.equal(to(2, "ArrowUp"), 2);
  assert.equal(to(2, "Home"), 0);
  assert.equal(to(2, "End"), 6);
});

test("other keys lead nowhere, and nothing leads anywhere among no tiles", () => {
  for (const key of ["a", "Enter", " ", "Tab", "toString"]) assert.equal(m.moved(1, key, 7, 4), null);
  for (const key of ["ArrowRight", "Home", "End"]) assert.equal(m.moved(0, key, 0, 1), null);
});

test("a click chooses one, or ticks and unticks one of several", () => {
  assert.deepEqual(m.clicked([], 2, false), [2]);
  assert.deepEqual(m.clicked([2], 2, false), [2]);
  assert.deepEqual(m.clicked([5], 2, false), [2]);
  assert.deepEqual(m.clicked([5, 10], 9, true), [5, 9, 10]);
  assert.deepEqual(m.clicked([5, 9, 10], 9, true), [5, 10]);
  assert.deepEqual(m.clicked([9], 9, true), []);
});

test("a click leaves what was chosen as it is", () => {
  const chosen = Object.freeze([1, 3]);
  m.clicked(chosen, 0, true);
  m.clicked(chosen, 1, true);
  m.stretched(chosen, 1, 5);
  assert.deepEqual(chosen, [1, 3]);
});

test("shift makes all on the way like the first", () => {
  assert.deepEqual(m.stretched([2], 2, 5), [2, 3, 4, 5]);
  assert.deepEqual(m.stretched([5, 9, 10], 5, 3), [3, 4, 5, 9, 10]);
  assert.deepEqual(m.stretched([0, 3, 4, 8], 2, 4), [0, 8]);
  assert.deepEqual(m.stretched([0, 1], 1, 1), [0, 1]);
});

test("tiles beside the first are counted by their tops", () => {
  assert.equal(m.columnsOf([3, 3, 3, 80, 80]), 3);
  assert.equal(m.columnsOf([3, 3]), 2);
  assert.equal(m.columnsOf([3, 20, 37]), 1);
  assert.equal(m.columnsOf([]), 1);
});
