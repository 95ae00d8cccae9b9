import assert from "node:assert/strict";
import { test } from "node:test";
import {
  formatDuration,
  formatSize,
  MAX_DURATION,
  MAX_SIZE,
  parseDuration,
  parseSize,
} from "../../lib/config/units.ts";

test("durations are whole numbers with one unit", () => {
  const good = { "500ms": 500, "5s": 5000, "2m": 120_000, "1h": 3_600_000, "0s": 0, "0ms": 0, "007s": 7000 };
  for (const [text, ms] of Object.entries(good)) assert.equal(parseDuration(text), ms, text);
  for (const text of [
    "",
    "5",
    "s",
    "-5s",
    "+5s",
    "1.5s",
    "5 s",
    " 5s",
    "5s ",
    "5S",
    "5sec",
    "1h30m",
    "5d",
    "٥s",
    "1e3s",
  ]) {
    assert.equal(parseDuration(text), null, text);
  }
});

test("durations end where timers end", () => {
  assert.equal(parseDuration(`${MAX_DURATION}ms`), MAX_DURATION);
  assert.equal(parseDuration(`${MAX_DURATION + 1}ms`), null);
  assert.equal(parseDuration("9999999999999999999999h"), null);
});

test("durations are written with the largest unit that is exact", () => {
  const written = { 0: "0s", 1: "1ms", 500: "500ms", 1000: "1s", 90000: "90s", 120000: "2m", 3600000: "1h" };
  for (const [ms, text] of Object.entries(written)) assert.equal(formatDuration(Number(ms)), text);
});

test("sizes are whole numbers with one binary unit", () => {
  const good = { "0B": 0, "512B": 512, "64KiB": 65_536, "1MiB": 1_048_576, "2GiB": 2_147_483_648 };
  for (const [text, bytes] of Object.entries(good)) assert.equal(parseSize(text), bytes, text);
  for (const text of ["", "64", "64KB", "64kib", "64K", "-1B", "1.5KiB", "1 KiB", "9999999GiB"]) {
    assert.equal(parseSize(text), null, text);
  }
  assert.equal(parseSize("1024GiB"), MAX_SIZE);
  assert.equal(parseSize(`${MAX_SIZE + 1}B`), null);
});

test("sizes are written with the largest unit that is exact", () => {
  const written = { 0: "0B", 1: "1B", 1000: "1000B", 1024: "1KiB", 65536: "64KiB", 1048577: "1048577B" };
  for (const [bytes, text] of Object.entries(written)) assert.equal(formatSize(Number(bytes)), text);
});
