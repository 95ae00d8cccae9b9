/**
 * Node's own OpenSSL as typed functions. The node binary exports the symbols of the OpenSSL it is linked with, so nothing is
 * shipped and the version is that of `node:tls`. Only what OpenSSL 3.0 and 3.5 both document is bound.
 * Invariant: what the headers promise was seen in the running library before anything is built on it; else `openssl` throws.
 * Functions, callbacks and pinned memory belong to the thread that loaded them.
 */
import { createRequire } from "node:module";
import { type Bind, C, expect, type Pinned, type Pointer, unusable } from "./openssl-binding.ts";
import { type BioFunctions, bindBio, examinePair } from "./openssl-bio.ts";
import {
  bindContext,
  type ContextFunctions,
  SSL_CTRL_CLEAR_MODE,
  SSL_CTRL_GET_MIN_PROTO_VERSION,
  SSL_CTRL_GET_READ_AHEAD,
  SSL_CTRL_GET_SESS_CACHE_MODE,
  SSL_CTRL_MODE,
  SSL_CTRL_SET_MIN_PROTO_VERSION,
  SSL_CTRL_SET_READ_AHEAD,
  SSL_CTRL_SET_SESS_CACHE_MODE,
  SSL_CTRL_SET_TLSEXT_TICKET_KEYS,
  SSL_MODE_AUTO_RETRY,
  SSL_MODE_RELEASE_BUFFERS,
  SSL_OP_NO_RENEGOTIATION,
  SSL_SESS_CACHE_CLIENT,
  TICKET_KEY_BYTES,
} from "./openssl-context.ts";
import { bindErrors, type ErrorFunctions } from "./openssl-errors.ts";
import { bindSession, findPeerSlot, type SessionFunctions } from "./openssl-session.ts";
import { bindSsl, type SslFunctions, TLS1_2_VERSION } from "./openssl-ssl.ts";
import { bindX509, type X509Functions } from "./openssl-x509.ts";

export interface Openssl
  extends BioFunctions,
    SslFunctions,
    SessionFunctions,
    ContextFunctions,
    X509Functions,
    ErrorFunctions {
  /** As OpenSSL_version_num(3): 0xMNN00PP0. */
  readonly version: number;
  /** Where a session keeps its peer; null: not known, and what needs it is to do without. */
  readonly peerSlot: number | null;
  /** Where half of a pair of BIOs keeps how many bytes wait in it; null: not known, and it is to be asked. */
  readonly waitingAt: number | null;
  /** C's errno as the last call left it; ask right after the call. */
  errno(): number;
  /** Makes `int (*)(parameters)` of a JavaScript function. It must not throw and is only called on this thread. */
  register(parameters: readonly string[], run: (...parameters: number[]) => number): Callback;
  /** `size` bytes that never move, as a Buffer and by address. They live as long as the Buffer is referenced. */
  pin(size: number): Pinned;
  /** `length` bytes at an address, copied out. */
  copy(address: Pointer, length: number): Buffer;
}

export interface Callback {
  readonly address: Pointer;
  /** Frees its slot. C must not call it any more. */
  unregister(): void;
}

type Koffi = typeof import("koffi")["default"];

/** OpenSSL_version_num(3) of 3.0.0, and of 4.0.0, by which functions bound here may be gone. */
const OLDEST = 0x30000000;
const BEYOND = 0x40000000;

// V8 may keep small typed arrays inside its own heap and move them; a backing store of its own never moves.
const SMALLEST_PIN = 4096;

let loaded: Openssl | undefined;

/** The functions, bound and checked at the first call. Throws ProxyError TRANSPORT with the reason why it cannot run here. */
export function openssl(): Openssl {
  loaded ??= load();
  return loaded;
}

/** Why Node's OpenSSL cannot be called here; null: it can. Never throws. */
export function probeOpenssl(): string | null {
  try {
    openssl();
    return null;
  } catch (thrown) {
    return thrown instanceof Error ? thrown.message : String(thrown);
  }
}

function load(): Openssl {
  if (process.arch !== "x64" && process.arch !== "arm64") {
    throw unusable(`the CPU is ${process.arch}; only x64 and arm64 were verified`);
  }
  let koffi: Koffi;
  try {
    koffi = createRequire(import.meta.url)("koffi") as Koffi;
  } catch (cause) {
    throw unusable("the package koffi does not load", cause);
  }
  const library = koffi.load(null);
  const bind: Bind = <F>(name: string, result: string, parameters: readonly string[]): F => {
    try {
      return library.func(name, result, [...parameters]) as F;
    } catch (cause) {
      throw unusable(`node does not export ${name}; it may be linked with a shared OpenSSL`, cause);
    }
  };
  const version = bind<() => number>("OpenSSL_version_num", C.ulong, [])();
  if (version < OLDEST || version >= BEYOND) {
    throw unusable(`OpenSSL ${process.versions.openssl} is not of the 3.x series`);
  }
  const errnoAt = bind<() => Pointer>("__errno_location", C.pointer, [])();
  const errno = new Int32Array(koffi.view(errnoAt, 4));
  const memcpy = bind<(to: Pointer, from: Pointer, length: number) => Pointer>("memcpy", C.pointer, [
    C.pointer,
    C.pointer,
    C.size,
  ]);
  const prototypes = new Map<string, ReturnType<Koffi["pointer"]>>();
  const pin = (size: number): Pinned => {
    const block = Buffer.allocUnsafeSlow(Math.max(size, SMALLEST_PIN));
    return { bytes: block.subarray(0, size), address: Number(koffi.address(block)) };
  };
  const bio = bindBio(bind);
  const session = bindSession(bind);
  const lib: Openssl = {
    ...bio,
    ...bindSsl(bind),
    ...session,
    ...bindContext(bind),
    ...bindX509(bind),
    ...bindErrors(bind),
    version,
    peerSlot: findPeerSlot(session, version, pin(4096)),
    waitingAt: examinePair(bio, pin(4096)),
    // One int per thread that stays where it is: reading it in place takes 3 ns, koffi.errno() takes 14.
    errno: () => errno[0]!,
    register: (parameters, run) => {
      const shape = parameters.join();
      // koffi keeps types for ever, so each is made once.
      const type = prototypes.get(shape) ?? koffi.pointer(koffi.proto(C.int, [...parameters]));
      prototypes.set(shape, type);
      const slot = koffi.register(run, type);
      return { address: Number(slot), unregister: () => koffi.unregister(slot) };
    },
    pin,
    copy: (address, length) => {
      const block = pin(length);
      memcpy(block.address, address, length);
      return block.bytes;
    },
  };
  verify(lib);
  return lib;
}

/** The constants of contexts, each used once and its effect looked at. */
function verify(lib: Openssl): void {
  const context = lib.SSL_CTX_new(lib.TLS_server_method());
  if (context === 0) throw unusable("SSL_CTX_new fails");
  try {
    verifyContext(lib, context);
  } finally {
    lib.SSL_CTX_free(context);
    lib.ERR_clear_error();
  }
}

function verifyContext(lib: Openssl, context: Pointer): void {
  const set = (command: number, value: number): number => lib.SSL_CTX_ctrl(context, command, value, 0);
  expect("SSL_CTRL_MODE", (set(SSL_CTRL_MODE, SSL_MODE_RELEASE_BUFFERS) & SSL_MODE_RELEASE_BUFFERS) !== 0);
  const retries = set(SSL_CTRL_MODE, 0) & SSL_MODE_AUTO_RETRY;
  expect("SSL_CTRL_CLEAR_MODE", retries !== 0 && (set(SSL_CTRL_CLEAR_MODE, retries) & retries) === 0);
  set(SSL_CTRL_SET_READ_AHEAD, 1);
  expect("SSL_CTRL_SET_READ_AHEAD", set(SSL_CTRL_GET_READ_AHEAD, 0) === 1);
  set(SSL_CTRL_SET_SESS_CACHE_MODE, SSL_SESS_CACHE_CLIENT);
  expect("SSL_CTRL_SET_SESS_CACHE_MODE", set(SSL_CTRL_GET_SESS_CACHE_MODE, 0) === SSL_SESS_CACHE_CLIENT);
  set(SSL_CTRL_SET_MIN_PROTO_VERSION, TLS1_2_VERSION);
  expect("SSL_CTRL_SET_MIN_PROTO_VERSION", set(SSL_CTRL_GET_MIN_PROTO_VERSION, 0) === TLS1_2_VERSION);
  const options = lib.SSL_CTX_set_options(context, SSL_OP_NO_RENEGOTIATION);
  expect("SSL_OP_NO_RENEGOTIATION", Math.floor(options / SSL_OP_NO_RENEGOTIATION) % 2 === 1);
  // Without keys it tells how many bytes of them it wants.
  expect("SSL_CTRL_SET_TLSEXT_TICKET_KEYS", set(SSL_CTRL_SET_TLSEXT_TICKET_KEYS, 0) === TICKET_KEY_BYTES);
}
