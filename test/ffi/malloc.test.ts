/**
 * Ensures that memory which is freed and wanted again costs no page faults once the allocator is told to keep it.
 */
import assert from "node:assert/strict";
import { test } from "node:test";
import { bind } from "../../lib/ffi/library.ts";
import { keepFreed } from "../../lib/ffi/malloc.ts";

const malloc = bind("malloc", "intptr_t", ["size_t"]);
const free = bind("free", "void", ["intptr_t"]);
const memset = bind("memset", "intptr_t", ["intptr_t", "int", "size_t"]);

const BLOCKS = 200;
// What a read takes, and below the size from which every block is a mapping of its own.
const BLOCK = 64 * 1024;
const PAGES = (BLOCKS * BLOCK) / 4096;

test("kept memory is used again without page faults", () => {
  keepFreed(BLOCKS * BLOCK * 2);
  fill();
  const faults = fill();
  assert(faults < PAGES / 4, `${faults} page faults for ${PAGES} pages`);

  // Without it, the system has them all back in between: else this test shows nothing.
  keepFreed(128 * 1024);
  fill();
  const without = fill();
  assert(without > PAGES / 2, `only ${without} page faults for ${PAGES} pages`);
});

/** Takes the blocks, writes to them, gives them back; the page faults of that. */
function fill(): number {
  const before = process.resourceUsage().minorPageFault;
  const blocks = Array.from({ length: BLOCKS }, () => malloc(BLOCK));
  for (const block of blocks) memset(block, 1, BLOCK);
  for (const block of blocks.reverse()) free(block);
  return process.resourceUsage().minorPageFault - before;
}
