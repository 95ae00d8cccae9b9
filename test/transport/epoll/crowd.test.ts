/** Ensures that it takes a while to call a turn's worth a crowd, and a while to call it calm. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { Crowd } from "../../../lib/transport/epoll/crowd.ts";

function note(crowd: Crowd, count: number, turns: number): void {
  for (let turn = 0; turn < turns; turn++) crowd.note(count, false);
}

test("nothing is known at first, and what comes one by one is calm after a while", () => {
  const crowd = new Crowd();
  assert.equal(crowd.isCalm, false);
  note(crowd, 1, 100);
  assert.equal(crowd.isCalm, false);
  note(crowd, 1, 300);
  assert.equal(crowd.isCalm, true);
  assert.equal(crowd.isCrowded, false);
});

test("one burst is no crowd, but three at a time are, in the long run", () => {
  const crowd = new Crowd();
  note(crowd, 1, 2000);
  crowd.note(200, false);
  assert.equal(crowd.isCrowded, false);
  note(crowd, 3, 2000);
  assert.equal(crowd.isCrowded, true);
  note(crowd, 2, 2000);
  assert.equal(crowd.isCrowded, false);
});

test("what was a crowd is not calm for a while", () => {
  const crowd = new Crowd();
  note(crowd, 1, 2000);
  crowd.forget();
  note(crowd, 1, 100);
  assert.equal(crowd.isCalm, false);
});

test("where other things come in every third turn, it is never calm", () => {
  const crowd = new Crowd();
  for (let turn = 0; turn < 3000; turn++) crowd.note(1, turn % 3 === 0);
  assert.equal(crowd.isCalm, false);
  assert.equal(crowd.isCrowded, true);
  for (let turn = 0; turn < 3000; turn++) crowd.note(1, turn % 20 === 0);
  assert.equal(crowd.isCalm, true);
});
