/** What malloc(3) has handed out in this process, in the arenas of all its threads: OpenSSL's memory, which no heap of V8 shows. */
import { createRequire } from "node:module";

const koffi = createRequire(import.meta.url)("koffi") as typeof import("koffi")["default"];
const FIELDS = [
  "arena",
  "ordblks",
  "smblks",
  "hblks",
  "hblkhd",
  "usmblks",
  "fsmblks",
  "uordblks",
  "fordblks",
  "keepcost",
];
const mallinfo2 = koffi
  .load(null)
  .func("mallinfo2", koffi.struct(Object.fromEntries(FIELDS.map((field) => [field, "size_t"]))), []);

/** Bytes in use, mallinfo2(3). */
export function mallocInUse(): number {
  const info = mallinfo2() as Record<string, number>;
  return Number(info["uordblks"]) + Number(info["hblkhd"]);
}
