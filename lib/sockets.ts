/**
 * The listening sockets of a process as control sees them. On epoll control binds, so that all workers share one queue; on net the
 * worker binds, and only UNIX paths are claimed here. Invariant: a socket stays open as long as a listener of its address is
 * wanted, and what was opened for a generation that is not accepted is given back.
 */
import type { ListenerConfig } from "./config/config.ts";
import { socketKey } from "./generation.ts";
import { type Bound, bindListener } from "./listen/socket.ts";
import { claimPath } from "./listen/unix.ts";
import type { SocketAddress } from "./wire/address.ts";

export class Sockets {
  readonly #bound = new Map<string, Bound>();
  #listeners: readonly ListenerConfig[] = [];
  #addresses: ReadonlyMap<string, SocketAddress> = new Map();

  /** Bound addresses by listener name; port 0 is resolved. */
  get addresses(): ReadonlyMap<string, SocketAddress> {
    return this.#addresses;
  }

  /**
   * Opens what these listeners want and nobody has open yet. Returns what is fresh, for `abandon`; rejects with ProxyError
   * LISTEN, everything fresh released.
   */
  async open(listeners: readonly ListenerConfig[], transport: "net" | "epoll"): Promise<readonly Bound[]> {
    const fresh: Bound[] = [];
    const standing = new Set(this.#listeners.map(socketKey));
    try {
      for (const listener of listeners) {
        const { name, address } = listener;
        if (address.kind === "systemd" || standing.has(socketKey(listener))) continue;
        if (address.kind === "unix") await claimPath(address.path, `listener ${name}`);
        if (transport !== "epoll") continue;
        const bound = bindListener(name, address);
        this.#bound.set(socketKey(listener), bound);
        fresh.push(bound);
      }
    } catch (thrown) {
      this.abandon(fresh);
      throw thrown;
    }
    return fresh;
  }

  /** Gives back what `open` opened for a generation that is not accepted. */
  abandon(fresh: readonly Bound[]): void {
    for (const [key, bound] of this.#bound) if (fresh.includes(bound)) this.#unbind(key, bound);
  }

  /** Descriptors by listener name, where control bound them. */
  descriptors(listeners: readonly ListenerConfig[]): Record<string, number> {
    const descriptors: Record<string, number> = {};
    for (const listener of listeners) {
      const bound = this.#bound.get(socketKey(listener));
      if (bound !== undefined) descriptors[listener.name] = bound.descriptor;
    }
    return descriptors;
  }

  /** These listeners are the ones now, `fresh` are the addresses that workers bound for them; what no listener wants is closed. */
  commit(listeners: readonly ListenerConfig[], fresh: Readonly<Record<string, SocketAddress>>): void {
    const addresses = new Map<string, SocketAddress>();
    const wanted = new Set<string>();
    for (const listener of listeners) {
      const key = socketKey(listener);
      wanted.add(key);
      const previous = this.#listeners.find((old) => socketKey(old) === key);
      const address =
        this.#bound.get(key)?.address ??
        fresh[listener.name] ??
        (previous === undefined ? undefined : this.#addresses.get(previous.name));
      if (address !== undefined) addresses.set(listener.name, address);
    }
    this.#addresses = addresses;
    this.#listeners = listeners;
    for (const [key, bound] of this.#bound) if (!wanted.has(key)) this.#unbind(key, bound);
  }

  close(): void {
    for (const [key, bound] of this.#bound) this.#unbind(key, bound);
  }

  #unbind(key: string, bound: Bound): void {
    this.#bound.delete(key);
    bound.close();
  }
}
