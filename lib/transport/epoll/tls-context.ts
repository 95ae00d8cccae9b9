/**
 * A TLS context of this transport: a spec with its SSL_CTX, the chains it has verified and the sessions it was given.
 * Invariant: connections hold their own reference to the SSL_CTX, so that it may be given up at any time: those that run go on,
 * and one that begins nevertheless has it compiled again. That is how contexts of earlier generations go without anybody
 * counting who may still come to them.
 */
import { ProxyError } from "../../errors.ts";
import type { Openssl } from "../../ffi/openssl.ts";
import type { Pinned } from "../../ffi/openssl-binding.ts";
import type { TlsContext, TlsContextSpec } from "../transport.ts";
import type { Compiled } from "./tls-compile.ts";
import { VerifiedChains } from "./tls-peers.ts";
import { Sessions } from "./tls-sessions.ts";

export class EpollTlsContext implements TlsContext {
  readonly spec: TlsContextSpec;
  readonly chains = new VerifiedChains();
  /** What servers gave us. Empty on the server side. */
  readonly sessions: Sessions;
  /** For each protocol of the spec, in order, where what the ALPN callback stores lies: an address and a length. */
  readonly protocols: ReadonlyMap<string, number>;
  /** Where that is; referenced as long as C may read it. */
  readonly protocolMemory: Pinned;
  /** Unix ms until which the revocation list counts; infinite where there is none. */
  readonly listValidUntil: number;
  readonly #lib: Openssl;
  readonly #compile: () => Compiled;
  /** null while it sleeps. */
  #compiled: Compiled | null;

  /** Throws what `compile` throws: ProxyError IDENTITY. */
  constructor(lib: Openssl, spec: TlsContextSpec, compile: () => Compiled) {
    this.#lib = lib;
    this.spec = spec;
    this.sessions = new Sessions(lib);
    [this.protocols, this.protocolMemory] = pinProtocols(lib, spec);
    this.#compile = compile;
    this.#compiled = compile();
    this.listValidUntil = this.#compiled.listValidUntil;
  }

  get asleep(): boolean {
    return this.#compiled === null;
  }

  /** Gives up the SSL_CTX and the sessions until somebody wants them again. */
  sleep(): void {
    if (this.#compiled === null) return;
    this.sessions.clear();
    this.chains.clear();
    this.#lib.SSL_CTX_free(this.#compiled.pointer);
    this.#compiled = null;
  }

  /** For SSL_new. */
  get pointer(): number {
    this.#compiled ??= this.#compile();
    return this.#compiled.pointer;
  }
}

/** Each name as {address, length} in memory that lives as long as the context, in the layout of the callback's two results. */
function pinProtocols(lib: Openssl, spec: TlsContextSpec): [ReadonlyMap<string, number>, Pinned] {
  const slot = 16 + 256;
  const block = lib.pin(slot * spec.alpn.length);
  const protocols = new Map<string, number>();
  for (const [index, name] of spec.alpn.entries()) {
    if (name.length === 0 || name.length > 255)
      throw new ProxyError("IDENTITY", `${spec.label}: ALPN name ${name}`);
    const at = index * slot;
    block.bytes.writeBigUInt64LE(BigInt(block.address + at + 16), at);
    block.bytes[at + 8] = name.length;
    block.bytes.write(name, at + 16, "latin1");
    protocols.set(name, block.address + at);
  }
  return [protocols, block];
}
