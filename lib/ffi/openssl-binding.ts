/**
 * How a C function becomes a typed one: the names of C types as koffi spells them, and the shape of the binder.
 * Invariant: pointers are plain numbers (user space ends below 2^53, so none is lost); 0 is NULL. Passed as integers they cost
 * some 25 ns, as koffi's own pointers and Buffers several times that.
 */
import { ProxyError } from "../errors.ts";

/** An address. 0 is NULL. */
export type Pointer = number;

export const C = {
  void: "void",
  int: "int",
  long: "long",
  uint: "unsigned int",
  ulong: "unsigned long",
  uint64: "uint64_t",
  size: "size_t",
  pointer: "uintptr_t",
  /** NUL-terminated. As a result: owned by C, copied out; null for NULL. As an argument: lives for the call. */
  text: "str",
} as const;

/** Binds one C function. Throws ProxyError TRANSPORT where the running binary does not export it. */
export type Bind = <F>(name: string, result: string, parameters: readonly string[]) => F;

/** Memory that never moves, as a Buffer and by address. It lives as long as the Buffer is referenced. */
export interface Pinned {
  readonly bytes: Buffer;
  readonly address: Pointer;
}

/** Why OpenSSL cannot be called here. */
export function unusable(reason: string, cause?: unknown): ProxyError {
  return new ProxyError(
    "TRANSPORT",
    `OpenSSL through the FFI: ${reason}`,
    cause === undefined ? {} : { cause },
  );
}

/** A wrong constant would not fail but quietly do something else: each is used once, and here is what was to be seen. */
export function expect(what: string, holds: boolean): void {
  if (!holds) throw unusable(`${what} does not do in OpenSSL ${process.versions.openssl} what its page says`);
}
