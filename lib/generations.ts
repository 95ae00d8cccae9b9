/**
 * The generations of one worker: the one that serves, the one that is prepared, and what is left of those before. A listener goes
 * from one to the next by its address; who comes to a new one waits until its generation is committed.
 */

import type { EndpointSet } from "./cluster/endpoint.ts";
import type { ClusterView } from "./cluster/pool.ts";
import { asProxyError, ProxyError } from "./errors.ts";
import { compile, type Generation, type ListenerScope, type Plan, socketKey } from "./generation.ts";
import type { Listening, Stream, Transport } from "./transport/transport.ts";
import type { SocketAddress } from "./wire/address.ts";

interface Open {
  readonly listening: Listening;
  scope: ListenerScope;
  /** Who came before the commit and waits for it; null once it is committed. */
  early: Stream[] | null;
}

/** What generations need of the worker, and tell it. */
export interface GenerationsOwner {
  readonly transport: Transport;
  /** A client of a listener that serves. */
  accepted(scope: ListenerScope, stream: Stream): void;
  /** Dials of an endpoint that failed, for control's ejection. */
  dialsFailed(cluster: string, endpoint: string, count: number): void;
  /** The oldest generation that a connection began in; Infinity: there is no connection. */
  oldestInUse(): number;
  /** A listener that was given up has served who waited for it. */
  listenerFinished(): void;
}

/** Why a generation cannot be prepared, null if it is; the bound addresses by listener name, where the worker bound them. */
export type Prepared = (error: ProxyError | null, addresses: Readonly<Record<string, SocketAddress>>) => void;

export class Generations {
  readonly #owner: GenerationsOwner;
  readonly #open = new Map<string, Open>();
  #current: Generation | null = null;
  #prepared: { readonly generation: Generation; readonly opened: Map<string, Open> } | null = null;
  /**
   * Views of earlier generations that still wait for a first answer, each with the last generation that dials by it: who is not
   * that far yet will wait there.
   */
  #retired: { readonly view: ClusterView; readonly generation: number }[] = [];
  /** Closed listeners that still accept who waited for them. */
  readonly #finishing = new Set<Open>();

  constructor(owner: GenerationsOwner) {
    this.#owner = owner;
  }

  /** Whether closed listeners still accept who waited for them. */
  get finishing(): boolean {
    return this.#finishing.size > 0;
  }

  /** Compiles a generation and opens what it adds. Nothing of the one that serves changes. Never throws. */
  prepare(plan: Plan, prepared: Prepared): void {
    const opened = new Map<string, Open>();
    const addresses: Record<string, SocketAddress> = {};
    const answer = (error: ProxyError | null): void => {
      if (error !== null) {
        for (const open of opened.values()) giveUp(open);
        this.#prepared = null;
      }
      prepared(error, addresses);
    };
    try {
      const generation = compile(plan, this.#owner.transport, this.#current, (cluster, endpoint, count) =>
        this.#owner.dialsFailed(cluster, endpoint, count),
      );
      this.#prepared = { generation, opened };
      const missing = generation.listeners.filter((scope) => !this.#open.has(socketKey(scope.config)));
      let waiting = missing.length;
      if (waiting === 0) return answer(null);
      let failed: ProxyError | null = null;
      for (const scope of missing) {
        const open = this.#listen(scope, plan.descriptors[scope.config.name] ?? null, (error) => {
          if (error !== null)
            failed ??= new ProxyError(error.code, `listener ${scope.config.name}: ${error.message}`);
          else addresses[scope.config.name] = open.listening.address;
          waiting -= 1;
          if (waiting === 0) answer(failed);
        });
        opened.set(socketKey(scope.config), open);
      }
    } catch (thrown) {
      answer(asProxyError(thrown));
    }
  }

  /** The prepared generation serves from now on; listeners that it does not have are closed in order. */
  commit(number: number): void {
    const prepared = this.#prepared;
    if (prepared === null || prepared.generation.number !== number) return;
    this.#prepared = null;
    this.#retire(prepared.generation);
    // Who came to the generation before may still be on the way to its handshake.
    const before = this.#current?.contexts.values() ?? [];
    this.#owner.transport.keep(new Set([...before, ...prepared.generation.contexts.values()]));
    this.#current = prepared.generation;
    for (const [key, open] of prepared.opened) this.#open.set(key, open);
    const wanted = new Set<string>();
    for (const scope of prepared.generation.listeners) {
      const key = socketKey(scope.config);
      wanted.add(key);
      this.#open.get(key)!.scope = scope;
    }
    for (const [key, open] of this.#open) {
      if (wanted.has(key)) continue;
      this.#finish(open);
      this.#open.delete(key);
    }
    for (const open of prepared.opened.values()) {
      const early = open.early ?? [];
      open.early = null;
      for (const stream of early) this.#owner.accepted(open.scope, stream);
    }
  }

  /** The prepared generation is given up. */
  abort(number: number): void {
    if (this.#prepared?.generation.number !== number) return;
    for (const open of this.#prepared.opened.values()) giveUp(open);
    this.#prepared = null;
  }

  /** A set may come while a generation is prepared, and while connections of an earlier one wait for it. */
  update(set: EndpointSet): void {
    this.#current?.clusters.get(set.cluster)?.view.update(set);
    this.#prepared?.generation.clusters.get(set.cluster)?.view.update(set);
    if (this.#retired.length === 0) return;
    for (const { view } of this.#retired) if (view.config.name === set.cluster) view.update(set);
    this.#retired = this.#retired.filter(({ view }) => !view.resolved);
  }

  /** Closes all listeners in order: who waits for them is served. */
  finish(): void {
    for (const open of this.#open.values()) this.#finish(open);
    this.#open.clear();
  }

  /** Closes all listeners at once. */
  close(): void {
    for (const open of [...this.#open.values(), ...this.#finishing]) open.listening.close();
    this.#open.clear();
  }

  #listen(scope: ListenerScope, descriptor: number | null, ready: (error: ProxyError | null) => void): Open {
    const { address } = scope.config;
    if (address.kind === "systemd")
      throw new ProxyError("UNAVAILABLE", "systemd sockets are not available in this version");
    const listening = this.#owner.transport.listen(
      { address, descriptor },
      (stream) => {
        if (open.early === null) this.#owner.accepted(open.scope, stream);
        else open.early.push(stream);
      },
      ready,
    );
    const open: Open = { listening, scope, early: [] };
    return open;
  }

  /** Keeps the views that `next` replaces before their first answer, as long as a connection may ask them. */
  #retire(next: Generation): void {
    if (this.#current === null) return;
    const { number: generation, clusters } = this.#current;
    for (const [name, { view }] of clusters) {
      if (!view.resolved && next.clusters.get(name)?.view !== view) this.#retired.push({ view, generation });
    }
    if (this.#retired.length === 0) return;
    const oldest = this.#owner.oldestInUse();
    this.#retired = this.#retired.filter(({ generation }) => generation >= oldest);
  }

  #finish(open: Open): void {
    this.#finishing.add(open);
    open.listening.finish(() => {
      this.#finishing.delete(open);
      this.#owner.listenerFinished();
    });
  }
}

/** Closes a listener whose generation was not accepted. Whoever came meanwhile is told at once. */
function giveUp({ listening, early }: Open): void {
  listening.close();
  for (const stream of early ?? []) stream.reset();
}
