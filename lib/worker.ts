/**
 * The data plane: one thread's worth of connections on one transport. Control talks to it in commands and hears events; both
 * are plain data, so that it makes no difference whether the worker lives in this thread (`net`) or in one of its own
 * (`epoll`). It shares nothing with other workers but counters.
 */

import type { EndpointSet } from "./cluster/endpoint.ts";
import { Connection, type Surroundings } from "./connection.ts";
import type { ProxyError } from "./errors.ts";
import type { ListenerScope, Plan } from "./generation.ts";
import { Generations, type GenerationsOwner } from "./generations.ts";
import { type SharedSources, SourceCounts } from "./listen/sources.ts";
import { AccessLog } from "./observe/access-log.ts";
import { LineWriter, type SharedLines } from "./observe/lines.ts";
import { liveRow } from "./observe/record.ts";
import type { Timer } from "./timing/wheel.ts";
import type { Stream, Transport } from "./transport/transport.ts";
import type { SocketAddress } from "./wire/address.ts";

/** Control → worker. */
export type Command =
  | { readonly type: "prepare"; readonly plan: Plan }
  | { readonly type: "commit"; readonly generation: number }
  | { readonly type: "abort"; readonly generation: number }
  | { readonly type: "set"; readonly set: EndpointSet }
  | { readonly type: "list"; readonly query: number; readonly limit: number }
  | { readonly type: "kill"; readonly query: number; readonly id: string }
  | { readonly type: "drain" }
  | { readonly type: "stop" };

/** Worker → control. */
export type Event =
  | {
      readonly type: "prepared";
      readonly generation: number;
      readonly error: { readonly code: ProxyError["code"]; readonly message: string } | null;
      /** Bound addresses by listener name, where the worker bound them. */
      readonly addresses: Readonly<Record<string, SocketAddress>>;
    }
  /** The first `length` bytes of a slot of the worker's `SharedLines`. */
  | { readonly type: "lines"; readonly slot: number; readonly length: number }
  | { readonly type: "failures"; readonly cluster: string; readonly endpoint: string; readonly count: number }
  | { readonly type: "listed"; readonly query: number; readonly rows: readonly Record<string, unknown>[] }
  | { readonly type: "killed"; readonly query: number; readonly found: boolean }
  | { readonly type: "committed"; readonly generation: number }
  | { readonly type: "drained" }
  /** A fault of ours that was contained to one connection. */
  | { readonly type: "fault"; readonly message: string };

/** Memory that all workers and control share. */
export interface Shared {
  /** Int32 by the indices below. */
  readonly gauges: Int32Array;
  readonly sources: SharedSources;
}
export const CONNECTIONS = 0; // live connections of the process
export const CONNECTION_LIMIT = 1; // written by control
export const DROPPED_LINES = 2;
export const BEATS = 8; // one heartbeat count per worker from here on

// Access lines leave when a slot is full, or this long after its first line: a reader of the log never waits long.
const BATCH_MS = 100;
const BEAT_MS = 1_000;
// The scope of `limits.per_source` of the process; listeners have scopes of their own.
const PROCESS = 0;

export class Worker implements Surroundings, GenerationsOwner {
  readonly transport: Transport;
  readonly #index: number;
  readonly #shared: Shared;
  readonly #sources: SourceCounts;
  readonly #emit: (event: Event) => void;
  readonly #connections: Connection[] = [];
  readonly #generations: Generations;
  readonly #log: AccessLog;
  readonly #offerTimer: Timer;
  readonly #beatTimer: Timer;
  /** The generation whose commit is to be answered. */
  #committed: number | null = null;
  #draining = false;

  constructor(
    transport: Transport,
    index: number,
    shared: Shared,
    lines: SharedLines,
    emit: (event: Event) => void,
  ) {
    this.transport = transport;
    this.#index = index;
    this.#shared = shared;
    this.#sources = new SourceCounts(shared.sources);
    this.#generations = new Generations(this);
    this.#emit = emit;
    const writer = new LineWriter(lines, (slot, length) => emit({ type: "lines", slot, length }));
    this.#log = new AccessLog(writer, (count) => Atomics.add(shared.gauges, DROPPED_LINES, count));
    this.#offerTimer = transport.timer({ expired: () => this.#offer() });
    this.#beatTimer = transport.timer({ expired: () => this.#beat() });
    this.#beat();
  }

  /** Carries out one command. Never throws. */
  receive(command: Command): void {
    switch (command.type) {
      case "prepare":
        return this.#prepare(command.plan);
      case "commit":
        this.#generations.commit(command.generation);
        this.#committed = command.generation;
        this.listenerFinished();
        return;
      case "abort":
        return this.#generations.abort(command.generation);
      case "set":
        return this.#generations.update(command.set);
      case "list":
        return this.#list(command.query, command.limit);
      case "kill":
        return this.#kill(command.query, command.id);
      case "drain":
        return this.#drain();
      case "stop":
        this.#generations.close();
        for (const connection of [...this.#connections]) connection.stop("drain");
        this.#offerTimer.stop();
        this.#beatTimer.stop();
        this.flush();
        return;
    }
  }

  // ── what a connection asks ─────────────────────────────────────────────────────────────────────────────────────────

  admit(listener: ListenerScope): string | null {
    const { gauges } = this.#shared;
    const limit = gauges[CONNECTION_LIMIT]!;
    if (Atomics.add(gauges, CONNECTIONS, 1) >= limit) {
      Atomics.sub(gauges, CONNECTIONS, 1);
      return `limits.connections: ${limit} reached`;
    }
    const own = listener.config.limits.connections;
    if (Atomics.add(listener.live, 0, 1) >= (own ?? Number.POSITIVE_INFINITY)) {
      this.leave(listener);
      return `listener ${listener.config.name}: limits.connections: ${own} reached`;
    }
    return null;
  }

  leave(listener: ListenerScope): void {
    Atomics.sub(this.#shared.gauges, CONNECTIONS, 1);
    Atomics.sub(listener.live, 0, 1);
  }

  admitSource(listener: ListenerScope, source: string): string | null {
    const everywhere = listener.perSource;
    const here = listener.config.limits.perSource ?? 0;
    if (everywhere > 0 && this.#sources.enter(PROCESS, source) > everywhere) {
      this.#sources.leave(PROCESS, source);
      return `limits.per_source: ${everywhere} connections from ${source}`;
    }
    if (here > 0 && this.#sources.enter(listener.sourceScope, source) > here) {
      this.leaveSource(listener, source);
      return `listener ${listener.config.name}: limits.per_source: ${here} connections from ${source}`;
    }
    return null;
  }

  leaveSource(listener: ListenerScope, source: string): void {
    if (listener.perSource > 0) this.#sources.leave(PROCESS, source);
    if ((listener.config.limits.perSource ?? 0) > 0) this.#sources.leave(listener.sourceScope, source);
  }

  ended(connection: Connection): void {
    // The last one takes its place.
    const last = this.#connections.pop()!;
    if (last !== connection) {
      this.#connections[connection.place] = last;
      last.place = connection.place;
    }
    if (connection.listener.logged) {
      if (!this.#log.waiting) this.#offerTimer.start(BATCH_MS);
      this.#log.add(connection.record);
    }
    this.#lookDrained();
  }

  /** Reports a fault that was contained: by a connection, or by the transport. */
  fault(thrown: unknown): void {
    const message = thrown instanceof Error ? (thrown.stack ?? thrown.message) : String(thrown);
    this.#emit({ type: "fault", message });
  }

  /** Hands the lines that wait to control. */
  flush(): void {
    this.#log.flush();
  }

  #offer(): void {
    this.#log.offer();
    if (this.#log.waiting) this.#offerTimer.start(BATCH_MS);
  }

  // ── generations ────────────────────────────────────────────────────────────────────────────────────────────────────

  accepted(scope: ListenerScope, stream: Stream): void {
    const connection = new Connection(this, scope, stream);
    connection.place = this.#connections.push(connection) - 1;
    connection.start();
  }

  dialsFailed(cluster: string, endpoint: string, count: number): void {
    this.#emit({ type: "failures", cluster, endpoint, count });
  }

  oldestInUse(): number {
    let oldest = Number.POSITIVE_INFINITY;
    for (const { listener } of this.#connections) oldest = Math.min(oldest, listener.generation);
    return oldest;
  }

  /** A commit is over when the addresses that it gave up are free again, a drain when nobody is left. */
  listenerFinished(): void {
    if (this.#generations.finishing) return;
    const generation = this.#committed;
    this.#committed = null;
    if (generation !== null) this.#emit({ type: "committed", generation });
    this.#lookDrained();
  }

  #prepare(plan: Plan): void {
    this.#generations.prepare(plan, (error, addresses) =>
      this.#emit({
        type: "prepared",
        generation: plan.generation,
        error: error === null ? null : { code: error.code, message: error.message },
        addresses,
      }),
    );
  }

  // ── live connections ───────────────────────────────────────────────────────────────────────────────────────────────

  #list(query: number, limit: number): void {
    const now = this.transport.now();
    const rows: Record<string, unknown>[] = [];
    for (const connection of this.#connections) {
      if (rows.length === limit) break;
      rows.push(liveRow(connection.record, now));
    }
    this.#emit({ type: "listed", query, rows });
  }

  #kill(query: number, id: string): void {
    for (const connection of this.#connections) {
      if (connection.record.id !== id) continue;
      connection.stop("killed");
      this.#emit({ type: "killed", query, found: true });
      return;
    }
    this.#emit({ type: "killed", query, found: false });
  }

  #drain(): void {
    this.#draining = true;
    this.#generations.finish();
    this.#lookDrained();
  }

  #lookDrained(): void {
    if (this.#draining && !this.#generations.finishing && this.#connections.length === 0) this.#drained();
  }

  /** Told once. */
  #drained(): void {
    this.#draining = false;
    this.flush();
    this.#emit({ type: "drained" });
  }

  #beat(): void {
    Atomics.add(this.#shared.gauges, BEATS + this.#index, 1);
    for (const connection of this.#connections) connection.countFlow();
    this.#beatTimer.start(BEAT_MS);
  }
}
