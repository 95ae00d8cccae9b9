/**
 * The public door of the library: `createProxy`, the types of a configuration, and the one error class. Everything else is
 * inside and may change.
 *
 *   const proxy = createProxy({ listeners: [...], clusters: {...} });
 *   await proxy.start();
 *   proxy.addresses.get("edge");
 *   await proxy.drain();
 */
import { type ConfigInput, loadConfig, normalizeConfig } from "./config/parse.ts";
import type { Log } from "./observe/log.ts";
import { Proxy } from "./proxy.ts";
import type { SocketAddress } from "./wire/address.ts";

export type { ConfigInput } from "./config/parse.ts";
export { type Code, type ConfigFault, ProxyError, type Reason } from "./errors.ts";
export type { Log } from "./observe/log.ts";
export type { SocketAddress } from "./wire/address.ts";

/** A configuration: the path of a YAML file, or the same structure as a value. */
export type ConfigSource = string | ConfigInput;

export interface CreateOptions {
  /** What relative paths in a configuration value are relative to; default: the current directory. */
  readonly directory?: string;
  /** Receives events and access lines instead of standard output. */
  readonly log?: Log;
  /** Called when the proxy cannot go on (a worker thread died). Default: the error is thrown as uncaught. */
  readonly onDeath?: (error: Error) => void;
}

export interface ProxyHandle {
  /** Bound addresses by listener name, after `start`. */
  readonly addresses: ReadonlyMap<string, SocketAddress>;
  /** Where the admin door listens; null while there is none. */
  readonly adminAddress: SocketAddress | null;
  /** Grows with every accepted reload and renewed certificate. */
  readonly generation: number;
  readonly state: "new" | "starting" | "running" | "draining" | "stopped";
  /** Resolves when every listener accepts; rejects with a ProxyError, everything released. */
  start(): Promise<void>;
  /** Rejects with a ProxyError and keeps the running configuration when anything is wrong with the new one. */
  reload(config: ConfigSource): Promise<void>;
  /** Stops accepting, waits for live connections at most `ms` (default: `timeouts.drain`), then ends. */
  drain(ms?: number): Promise<void>;
  /** Ends everything now. */
  close(): Promise<void>;
  /** Live connections, as in `GET /connections`. */
  connections(): Promise<readonly Record<string, unknown>[]>;
  /** Ends one connection by its id; false when there is none. */
  kill(id: string): Promise<boolean>;
}

/** Makes a proxy that is not started yet. Throws ProxyError CONFIG with every fault of the configuration. */
export function createProxy(config: ConfigSource, options: CreateOptions = {}): ProxyHandle {
  const read = (source: ConfigSource) =>
    typeof source === "string"
      ? loadConfig(source)
      : normalizeConfig(source, options.directory === undefined ? {} : { directory: options.directory });
  const proxy = new Proxy(read(config), options);
  return {
    get addresses() {
      return proxy.addresses;
    },
    get adminAddress() {
      return proxy.adminAddress;
    },
    get generation() {
      return proxy.generation;
    },
    get state() {
      return proxy.state;
    },
    start: () => proxy.start(),
    reload: async (source) => proxy.reload(read(source)),
    drain: (ms) => proxy.drain(ms),
    close: () => proxy.close(),
    connections: () => proxy.connections(),
    kill: (id) => proxy.kill(id),
  };
}
