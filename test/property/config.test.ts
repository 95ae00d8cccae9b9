/** Whatever comes in, a `Config` or a `ProxyError("CONFIG")` with faults that can be shown comes out. */
import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import {
  type ConfigInput,
  configWarnings,
  formatFaults,
  normalizeConfig,
  parseConfig,
} from "../../lib/config/parse.ts";
import {
  formatDuration,
  formatSize,
  MAX_DURATION,
  MAX_SIZE,
  parseDuration,
  parseSize,
} from "../../lib/config/units.ts";
import { ProxyError } from "../../lib/errors.ts";
import { EXAMPLE } from "../config/example.ts";

const env = { HOME: "/root", PORT: "443" };

function acceptsOrRefuses(read: () => ReturnType<typeof parseConfig>): void {
  try {
    const config = read();
    assert.deepEqual(structuredClone(config), config);
    configWarnings(config);
  } catch (error) {
    if (error instanceof assert.AssertionError) throw error;
    assert.ok(error instanceof ProxyError, String(error));
    assert.equal(error.code, "CONFIG");
    assert.ok(error.faults.length > 0);
    // The last resort of the door; nothing that is known comes here.
    assert.doesNotMatch(error.message, /cannot be understood/);
    for (const fault of error.faults) {
      assert.match(fault.message, /^(must|is|has|needs|may|can) /, fault.message);
      assert.doesNotMatch(fault.message, /undefined|\[object/, fault.message);
      if (fault.file !== null) assert.ok(fault.line! >= 1 && fault.column! >= 1);
    }
    assert.doesNotMatch(formatFaults(error), /[\x00-\x09\x0b-\x1f\x7f]/);
  }
}

test("random bytes", () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 300 }), (bytes) => {
      acceptsOrRefuses(() => parseConfig(Buffer.from(bytes).toString(), { file: "x.yaml", env }));
    }),
    { numRuns: 500 },
  );
});

test("random words of YAML", () => {
  const word = fc.constantFrom(
    ..."[ ] { } : - ? & * ! | > ' \" % @ # , \n a b << ~ null 1 .5 true $ __proto__ listeners clusters".split(
      " ",
    ),
    "\n  ",
    "\n    ",
    ": ",
    "- ",
    "\t",
    `\${PORT}`,
    `\${X:-y}`,
  );
  fc.assert(
    fc.property(fc.array(word, { maxLength: 60 }), (words) => {
      acceptsOrRefuses(() => parseConfig(words.join(""), { file: "x.yaml", env }));
    }),
    { numRuns: 1000 },
  );
});

test("a valid file with pieces cut, doubled and replaced", () => {
  const junk = fc.oneof(
    fc.string({ maxLength: 8 }),
    fc.constantFrom(
      "[",
      "{",
      "null",
      "- ",
      ": ",
      "0",
      "-1",
      "1e99",
      "*a",
      "&a ",
      `\${`,
      `\${X}`,
      "\n",
      "\n  ",
      '"',
      "!!map ",
    ),
  );
  const edit = fc.record({ at: fc.nat(EXAMPLE.length), cut: fc.nat(20), put: junk });
  fc.assert(
    fc.property(fc.array(edit, { minLength: 1, maxLength: 4 }), (edits) => {
      let text = EXAMPLE;
      for (const { at, cut, put } of edits) text = text.slice(0, at) + put + text.slice(at + cut);
      acceptsOrRefuses(() => parseConfig(text, { file: "x.yaml", env }));
    }),
    { numRuns: 300 },
  );
});

test("a valid file with one value of another kind", () => {
  const lines = EXAMPLE.split("\n");
  const value = fc.constantFrom(
    "[]",
    "{}",
    "~",
    "true",
    "-1",
    "1e400",
    ".nan",
    "''",
    "x",
    "[[]]",
    "{a: b}",
    "0x7fffffffffff",
  );
  fc.assert(
    fc.property(fc.nat(lines.length - 1), fc.nat(8), value, (line, nth, put) => {
      const at = [...lines[line]!.matchAll(/(?<=[[{:,] )[^ ,[\]{}]+/g)];
      const hit = at[nth % Math.max(at.length, 1)];
      if (hit === undefined) return;
      const text = lines[line]!;
      const changed = text.slice(0, hit.index) + put + text.slice(hit.index + hit[0].length);
      acceptsOrRefuses(() => parseConfig(lines.with(line, changed).join("\n"), { file: "x.yaml", env }));
    }),
    { numRuns: 300 },
  );
});

test("any value from a program", () => {
  fc.assert(
    fc.property(
      fc.anything({ withBigInt: true, withNullPrototype: true, withMap: true, withDate: true }),
      (value) => {
        acceptsOrRefuses(() => normalizeConfig(value as ConfigInput, { env }));
        acceptsOrRefuses(() =>
          normalizeConfig({ listeners: [value], clusters: value } as ConfigInput, { env }),
        );
      },
    ),
    { numRuns: 300 },
  );
});

test("durations and sizes come back as they were", () => {
  fc.assert(fc.property(fc.nat(MAX_DURATION), (ms) => parseDuration(formatDuration(ms)) === ms));
  fc.assert(fc.property(fc.nat(MAX_SIZE), (bytes) => parseSize(formatSize(bytes)) === bytes));
  const units = fc.tuple(fc.nat(500), fc.constantFrom("ms", "s", "m", "h"));
  fc.assert(
    fc.property(units, ([n, unit]) => {
      const ms = parseDuration(`${n}${unit}`);
      assert.ok(ms !== null);
      assert.equal(parseDuration(formatDuration(ms)), ms);
    }),
  );
});
