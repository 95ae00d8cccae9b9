/**
 * The way into C: koffi, an optional dependency, loaded once per thread. `load(null)` reaches every symbol of the running
 * node binary, libc and OpenSSL included, so nothing is tied to the name of a shared library.
 * Importing this room never throws: where C cannot be reached, every bound function throws ProxyError TRANSPORT when
 * called and `libraryFault` says why.
 *
 * Measured with koffi 3.3.4 on Node 20.20, best of five, ns per call: int -> int 18; an address as a number in an `intptr_t`
 * 21; a failing `read` with the address as number 192, as BigInt in `void *` 195, as Buffer 207 (of these some 170 are the
 * system call). So everything here takes and returns numbers, and memory that C touches has an address known in advance.
 */
import { createRequire } from "node:module";
import { ProxyError } from "../errors.ts";

/** A C function over numbers. Addresses are exact: user space ends at 2^47 (2^48 on arm64), below 2^53. */
export type Native = (...args: (number | null)[]) => number;
/** C types that cross as JavaScript numbers. */
export type NativeType = "void" | "int" | "uint32_t" | "intptr_t" | "size_t";

interface Koffi {
  load(path: null): { func(name: string, result: string, args: string[]): Native };
  view(address: number | bigint, length: number): ArrayBuffer;
}

let koffi: Koffi | null = null;
let library: ReturnType<Koffi["load"]> | null = null;
let fault: string | null = null;
const missing: string[] = [];

try {
  koffi = createRequire(import.meta.url)("koffi") as Koffi;
  library = koffi.load(null);
} catch (thrown) {
  const reason = thrown instanceof Error ? thrown.message.split("\n")[0] : String(thrown);
  fault = `the optional package koffi cannot be loaded (${reason}); install it with npm install koffi`;
}

/** Why C cannot be reached from here; null when it can. */
export function libraryFault(): string | null {
  if (fault !== null) return fault;
  return missing.length === 0 ? null : `this node binary lacks the symbols ${missing.join(", ")}`;
}

/** The C function `name` of the running binary. A missing one throws when it is called. */
export function bind(name: string, result: NativeType, args: readonly NativeType[]): Native {
  const found = find(name, result, args);
  if (found !== null) return found;
  if (library !== null) missing.push(name);
  return () => {
    throw new ProxyError("TRANSPORT", `${name}() cannot be called: ${libraryFault()}`);
  };
}

/** The C function `name` of the running binary, or null where it has none: for what one C library has and another lacks. */
export function find(name: string, result: NativeType, args: readonly NativeType[]): Native | null {
  try {
    return library?.func(name, result, [...args]) ?? null;
  } catch {
    return null;
  }
}

/** `length` bytes at `address` as a buffer. The memory is C's: whoever allocated it must outlive the buffer. */
export function viewOf(address: number, length: number): Buffer {
  if (koffi === null) throw new ProxyError("TRANSPORT", `memory cannot be reached: ${libraryFault()}`);
  return Buffer.from(koffi.view(address, length));
}
