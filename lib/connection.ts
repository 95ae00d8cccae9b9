/**
 * THE STORY: one connection's life from accept to record, told once for both transports.
 *
 *   accepted → sniff (PROXY header?, ClientHello?) → match → terminate? → pick → dial (retry next) → originate?
 *            → relay → record, exactly once
 *
 * Every step is a small method that ends by calling the next one, by waiting for a callback of the port, or by `#end`.
 * Nothing here is a promise, a Node timer or a Node stream: in the epoll transport those never run. One timer serves all
 * phases, because a connection is in one phase at a time. `#end` is the only exit: it closes both sides, gives back what was
 * counted and hands the record on.
 */

import { type Endpoint, enter, leave } from "./cluster/endpoint.ts";
import type { RouteConfig } from "./config/config.ts";
import {
  asProxyError,
  classifyDial,
  classifyDownstream,
  classifyFailure,
  classifyRelay,
  classifyUpstream,
  endsInOrder,
  type ProxyError,
  type Reason,
} from "./errors.ts";
import type { ClusterScope, ListenerScope } from "./generation.ts";
import { countAccepted, countBytes, countDial, countEnded, countHandshake } from "./observe/counters.ts";
import { ConnectionRecord, type Phase } from "./observe/record.ts";
import type { Task, Timer } from "./timing/wheel.ts";
import { announcement } from "./tls/announcement.ts";
import type {
  Dialler,
  Look,
  RelayEnd,
  RelayOwner,
  Stream,
  StreamOwner,
  Transport,
} from "./transport/transport.ts";
import { formatAddress, type SocketAddress } from "./wire/address.ts";
import { ALERT, plainAlert } from "./wire/alert.ts";
import { type HelloVerdict, parseHello } from "./wire/hello.ts";
import {
  decodeProxyHeader,
  encodeProxyHeader,
  MAX_PROXY_HEADER,
  type ProxyHeader,
  type ProxyVerdict,
} from "./wire/proxy-header.ts";

/** What a connection asks of the worker it lives in. */
export interface Surroundings {
  readonly transport: Transport;
  /** Counts a connection in if the process and the listener have room; else says which limit is reached. */
  admit(listener: ListenerScope): string | null;
  /** Undoes `admit`. */
  leave(listener: ListenerScope): void;
  /** Counts one of `source` in if it may have one more; else says which limit is reached. */
  admitSource(listener: ListenerScope, source: string): string | null;
  /** Undoes `admitSource`. */
  leaveSource(listener: ListenerScope, source: string): void;
  ended(connection: Connection): void;
  /** Reports a fault of ours that was contained to one connection. */
  fault(thrown: unknown): void;
}

const LISTENS_FIRST = { from: null, speaksFirst: false };
const SPEAKS_FIRST = { from: null, speaksFirst: true };
const NO_PROTOCOLS: readonly string[] = [];

// A lifetime ends up to a tenth early, at random, so that connections born together do not end together.
const LIFETIME_JITTER = 0.1;

export class Connection implements Task, StreamOwner, Dialler, RelayOwner {
  /** Where it stands in the list of whoever keeps it. */
  place = 0;
  readonly record: ConnectionRecord;
  readonly listener: ListenerScope;
  readonly #around: Surroundings;
  readonly #downstream: Stream;
  readonly #timer: Timer;
  /** Endpoints that failed; null while none has. */
  #failedEndpoints: Endpoint[] | null = null;
  #upstream: Stream | null = null;
  #phaseStarted: number;
  /**
   * When several phases must be over together: first a PROXY header and a hello, which share a deadline that dripping does not
   * extend; then waiting for an endpoint and all dials.
   */
  #due: number;
  #lifetimeEnds = Number.POSITIVE_INFINITY;
  #alpnOffered = NO_PROTOCOLS;
  #isTls = false;
  #route: RouteConfig | null = null;
  #cluster: ClusterScope | null = null;
  #endpoint: Endpoint | null = null;
  #waiting: { cancel(): void } | null = null;
  #admitted = false;
  /** The client that per-source limits count this connection for. */
  #source: string | null = null;
  #countedUp = 0;
  #countedDown = 0;
  #over = false;

  constructor(around: Surroundings, listener: ListenerScope, downstream: Stream) {
    const now = around.transport.now();
    this.#around = around;
    this.listener = listener;
    this.#downstream = downstream;
    this.#timer = around.transport.timer(this);
    this.#phaseStarted = now;
    this.#due = now + listener.config.timeouts.hello;
    this.record = new ConnectionRecord(
      listener.config.name,
      listener.generation,
      around.transport.name,
      downstream.remote,
      downstream.local,
      now,
    );
  }

  /** Begins the story. Never throws: a fault of ours, now or in a later step, ends it with reason `internal`. */
  start(): void {
    countAccepted(this.listener.row);
    try {
      this.#begin();
    } catch (thrown) {
      this.#fault(thrown);
    }
  }

  // What the port tells. A fault of ours in any of it ends this connection and no other.

  /** The time of the phase is up. */
  expired(): void {
    try {
      this.#deadline();
    } catch (thrown) {
      this.#fault(thrown);
    }
  }

  failed(stream: Stream, error: ProxyError): void {
    try {
      if (stream === this.#downstream) this.#end(classifyFailure(error, "client_reset"), error.message);
      else if (error.code === "INTERNAL") this.#end("internal", error.message);
      else this.#dialFailed("dial_failed", error.message);
    } catch (thrown) {
      this.#fault(thrown);
    }
  }

  dialled(error: ProxyError | null): void {
    try {
      this.#dialled(error);
    } catch (thrown) {
      this.#fault(thrown);
    }
  }

  relayed(end: RelayEnd): void {
    try {
      this.#relayed(end);
    } catch (thrown) {
      this.#fault(thrown);
    }
  }

  #begin(): void {
    const { lifetime } = this.listener.config.timeouts;
    if (lifetime > 0) {
      this.#lifetimeEnds = this.record.started + lifetime * (1 - Math.random() * LIFETIME_JITTER);
    }
    this.#downstream.owner = this;
    const full = this.#around.admit(this.listener);
    if (full !== null) return this.#end("limit", full);
    this.#admitted = true;
    const { mode, position } = this.listener.config.proxyProtocol;
    // A proxy in front of us is not the client: it counts for whom its header names.
    if ((mode === "off" || !this.#trusted()) && !this.#countSource()) return;
    if (mode !== "off" && position === "outer") this.#sniffHeader(() => this.#sniff());
    else this.#sniff();
  }

  /** Ends it from outside: by an operator (`killed`), or because the proxy stops (`drain`). */
  stop(reason: "killed" | "drain"): void {
    this.#end(reason, reason === "killed" ? "killed by an operator" : "the proxy stopped before it was over");
  }

  /** Moves what flowed since the last call into the shared counters. */
  countFlow(): void {
    const { bytesUp, bytesDown } = this.record;
    if (bytesUp === this.#countedUp && bytesDown === this.#countedDown) return;
    // The endpoint's first byte proves that it works; a long connection does not keep that to itself until it ends.
    if (this.#countedDown === 0 && bytesDown > 0 && this.#endpoint !== null) {
      this.#cluster!.view.dialSucceeded(this.#endpoint);
    }
    countBytes(this.listener.row, bytesUp - this.#countedUp, bytesDown - this.#countedDown);
    this.#countedUp = bytesUp;
    this.#countedDown = bytesDown;
  }

  /** The rarer callbacks go through here, for the same reason. */
  #guard<T>(step: (value: T) => void): (value: T) => void {
    return (value) => {
      try {
        step(value);
      } catch (thrown) {
        this.#fault(thrown);
      }
    };
  }

  #fault(thrown: unknown): void {
    this.#around.fault(thrown);
    this.#end("internal", asProxyError(thrown).message);
  }

  #peek(limit: number, look: Look): void {
    this.#downstream.peek(limit, (bytes, ended) => {
      try {
        return look(bytes, ended);
      } catch (thrown) {
        this.#fault(thrown);
        return 0;
      }
    });
  }

  // ── sniff ──────────────────────────────────────────────────────────────────────────────────────────────────────────

  #sniffHeader(next: () => void): void {
    const { proxyProtocol } = this.listener.config;
    this.#enter("sniff", this.#due - this.#around.transport.now());
    if (proxyProtocol.mode === "require" && !this.#trusted()) return this.#distrust();
    this.#peek(MAX_PROXY_HEADER, (bytes, ended) => {
      const verdict = decodeProxyHeader(bytes);
      if (verdict.kind === "more" && !ended && verdict.need <= MAX_PROXY_HEADER) return verdict.need;
      if (this.#acceptHeader(verdict, bytes.length, ended) && this.#countSource()) next();
      return 0;
    });
  }

  /** Whether the connection goes on after what was found where a PROXY header may be. */
  #acceptHeader(verdict: ProxyVerdict, shown: number, ended: boolean): boolean {
    const required = this.listener.config.proxyProtocol.mode === "require";
    switch (verdict.kind) {
      case "more":
        // Who has nothing to say at all may still want to hear.
        if (shown === 0 && !required) return true;
        this.#end(
          "bad_proxy_header",
          ended ? "the client closed within the header" : "the header is too long",
        );
        return false;
      case "bad":
        this.#end("bad_proxy_header", verdict.why);
        return false;
      case "absent":
        if (required) this.#end("bad_proxy_header", "no PROXY header, and this listener requires one");
        return !required;
      default:
        if (!this.#trusted()) {
          this.#distrust();
          return false;
        }
        this.#downstream.skip(verdict.length);
        this.#adopt(verdict.header);
        return true;
    }
  }

  #distrust(): void {
    this.#end(
      "untrusted_proxy_header",
      `${formatAddress(this.record.source)} is not in proxy_protocol.trusted`,
    );
  }

  /** Whether a PROXY header from this client is believed. Who may open a UNIX socket, the file system has decided. */
  #trusted(): boolean {
    const { remote } = this.#downstream;
    return remote.kind === "unix" || this.listener.trusts(sourceOf(remote));
  }

  /** Counts this connection for its client, once. False: the client has too many, and this one is over. */
  #countSource(): boolean {
    if (this.#source !== null) return true;
    const source = sourceOf(this.record.source);
    const full = this.#around.admitSource(this.listener, source);
    if (full === null) this.#source = source;
    else this.#end("limit", full);
    return full === null;
  }

  /** Takes over what a trusted header says. */
  #adopt(header: ProxyHeader): void {
    const { uniqueId } = header.tlvs;
    if (uniqueId !== undefined) this.record.parent = Buffer.from(uniqueId).toString("hex");
    if (header.source === null || header.destination === null) return;
    this.record.source = header.source;
    this.record.destination = header.destination;
  }

  #sniff(): void {
    if (this.#over) return;
    const { table } = this.listener;
    if (!table.needsHello) return this.#match();
    // Where no hello could change the route, do not wait for one: the service may speak first.
    if (!table.clientFirst && table.matchEarly(this.#clientHost(), this.record.destination) !== null)
      return this.#match();
    const limit = this.listener.helloBytes;
    this.#enter("sniff", this.#due - this.#around.transport.now());
    this.#peek(limit, (bytes, ended) => {
      const verdict = parseHello(bytes, limit);
      if (verdict.kind === "more" && !ended) return verdict.need;
      this.#judgeHello(verdict, bytes.length);
      return 0;
    });
  }

  #judgeHello(verdict: HelloVerdict, shown: number): void {
    switch (verdict.kind) {
      case "more":
        return this.#end(
          "bad_hello",
          shown === 0 ? "closed before a hello" : "closed in the middle of the hello",
        );
      case "bad":
        return this.#refuse("bad_hello", verdict.why, verdict.alert);
      case "not_tls":
        if (this.listener.table.needsTls) return this.#refuse("bad_hello", verdict.why, null);
        return this.#match();
      default: {
        const { hello } = verdict;
        this.#isTls = true;
        this.#alpnOffered = hello.alpn;
        this.record.sni = hello.serverName;
        this.record.alpn = hello.alpn[0] ?? null;
        return this.#match();
      }
    }
  }

  // ── match ──────────────────────────────────────────────────────────────────────────────────────────────────────────

  #match(): void {
    const now = this.#around.transport.now();
    this.record.sniffMs = now - this.record.started;
    const route = this.listener.table.match({
      serverName: this.record.sni,
      alpn: this.#alpnOffered,
      from: this.#clientHost(),
      destination: this.record.destination,
      tls: this.#isTls,
    });
    if (route === null) {
      const name = this.record.sni === null ? "a client without SNI" : `SNI ${this.record.sni}`;
      return this.#refuse("no_route", `no route takes ${name}`, this.#isTls ? ALERT.unrecognized_name : null);
    }
    this.#route = route;
    this.record.route = route.name;
    if (route.tls === "terminate") return this.#terminate(route);
    const { mode, position } = this.listener.config.proxyProtocol;
    if (mode === "require" && position === "inner") {
      const why = `route ${route.name} does not end TLS, so no PROXY header can be inside it`;
      return this.#end("bad_proxy_header", `${why}, and this listener requires one`);
    }
    this.#pick();
  }

  // ── terminate and authorise ────────────────────────────────────────────────────────────────────────────────────────

  #terminate(route: RouteConfig): void {
    this.#enter("handshake", this.listener.config.timeouts.handshake);
    const context = this.listener.contextOf(route);
    const secured = this.#guard((error: ProxyError | null) => {
      this.record.downstreamTls = this.#downstream.tls;
      if (error !== null) {
        const reason = classifyDownstream(error);
        return reason === "internal" ? this.#fault(error) : this.#end(reason, error.message);
      }
      this.#shaken(true);
      const { mode, position } = this.listener.config.proxyProtocol;
      if (mode === "off" || position === "outer") return this.#pick();
      this.#due = this.#around.transport.now() + this.listener.config.timeouts.hello;
      this.#sniffHeader(() => this.#pick());
    });
    this.#downstream.secure(context, { serverName: null, sessionKey: "" }, secured);
  }

  /** The handshake with the client is over, however it ended. */
  #shaken(ok: boolean): void {
    const { record } = this;
    record.handshakeMs = this.#around.transport.now() - this.#phaseStarted;
    const facts = record.downstreamTls;
    const row = this.listener.row;
    countHandshake(row, facts?.version ?? null, facts?.resumed ?? false, ok, record.handshakeMs);
  }

  // ── pick ───────────────────────────────────────────────────────────────────────────────────────────────────────────

  #pick(): void {
    // A listener may take headers inside TLS, and the route may not end TLS here: then there is none.
    if (this.#over || !this.#countSource()) return;
    const route = this.#route!;
    const cluster = this.listener.clusterOf(route);
    this.#cluster = cluster;
    this.record.cluster = cluster.config.name;
    this.record.phase = "pick";
    this.#downstream.owner = this;
    const wait = this.listener.config.timeouts.connect;
    this.#due = this.#around.transport.now() + wait;
    if (cluster.view.resolved) return this.#tryNext();
    this.#enter("pick", wait);
    this.#waiting = cluster.view.whenResolved(
      this.#guard<void>(() => {
        this.#waiting = null;
        this.#tryNext();
      }),
    );
  }

  #tryNext(): void {
    const cluster = this.#cluster!;
    const endpoint = cluster.view.pick(this.#clientHost(), null);
    if (endpoint === null) {
      return this.#end("no_endpoint", `cluster ${cluster.config.name} has no endpoint to dial`);
    }
    this.#dial(cluster, endpoint);
  }

  // ── dial ───────────────────────────────────────────────────────────────────────────────────────────────────────────

  #dial(cluster: ClusterScope, endpoint: Endpoint): void {
    const { transport } = this.#around;
    this.#endpoint = endpoint;
    enter(endpoint);
    cluster.view.dialled(endpoint);
    const { record } = this;
    record.endpoint = endpoint.key;
    // Of an endpoint that was tried before, the line tells nothing.
    record.dialMs = null;
    record.upstreamTls = null;
    this.#enter("dial", this.#dialPatience(cluster));
    // A hello that was peeked goes on at once, and so do a PROXY header and a hello of our own.
    const hello = this.#isTls && this.#route!.tls !== "terminate";
    const first = hello || cluster.context !== null || cluster.config.proxyProtocol !== "off";
    this.#upstream = transport.dial(endpoint.address, first ? SPEAKS_FIRST : LISTENS_FIRST, this);
  }

  #dialled(error: ProxyError | null): void {
    if (error !== null) {
      this.#upstream = null;
      return this.#dialFailed(classifyDial(error), error.message, error.code !== "TRANSPORT");
    }
    const cluster = this.#cluster!;
    const ms = this.#around.transport.now() - this.#phaseStarted;
    this.record.dialMs = ms;
    countDial(cluster.row, ms);
    this.#announce(cluster, this.#endpoint!);
  }

  /** Says who the client is, ahead of everything else, as HAProxy and nginx do: before TLS. */
  #announce(cluster: ClusterScope, endpoint: Endpoint): void {
    const upstream = this.#upstream!;
    upstream.owner = this;
    if (cluster.config.proxyProtocol !== "off") {
      upstream.send(
        encodeProxyHeader({
          version: cluster.config.proxyProtocol === "v1" ? 1 : 2,
          command: "proxy",
          source: this.record.source,
          destination: this.record.destination,
          tlvs: announcement(Buffer.from(this.record.id, "hex"), this.record.sni, this.record.downstreamTls),
        }),
      );
    }
    if (cluster.context === null) this.#connected();
    else this.#originate(cluster, endpoint);
  }

  // ── originate ──────────────────────────────────────────────────────────────────────────────────────────────────────

  #originate(cluster: ClusterScope, endpoint: Endpoint): void {
    this.#enter("originate", this.listener.config.timeouts.handshake);
    const upstream = this.#upstream!;
    const { address } = endpoint;
    const ownName = endpoint.name ?? (address.kind === "ip" ? address.host : null);
    const serverName = cluster.config.tls?.serverName ?? ownName;
    const secured = this.#guard((error: ProxyError | null) => {
      this.record.upstreamTls = upstream.tls;
      if (error !== null) {
        const reason = classifyUpstream(error);
        if (reason === "internal") return this.#fault(error);
        return this.#dialFailed(reason, `${endpoint.key}: ${error.message}`);
      }
      // Who completes a handshake works; who only accepts has proved nothing yet.
      cluster.view.dialSucceeded(endpoint);
      this.#connected();
    });
    const sessionKey = `${endpoint.key} ${serverName ?? ""}`;
    upstream.secure(cluster.context!, { serverName, sessionKey }, secured);
  }

  /**
   * ms for this attempt: `connect.timeout`, else half of what the connect deadline leaves while another endpoint could still be
   * tried, so that one that does not answer does not use up all of it.
   */
  #dialPatience(cluster: ClusterScope): number {
    const left = Math.max(this.#due - this.#around.transport.now(), 1);
    const { timeout, retries } = cluster.config.connect;
    if (timeout !== null) return Math.min(timeout, left);
    const failed = this.#failedEndpoints?.length ?? 0;
    const others = (cluster.view.set?.endpoints.length ?? 1) - failed - 1;
    return others > 0 && failed < retries ? left / 2 : left;
  }

  /** One endpoint failed and no byte was relayed yet: the next one, while the deadline, the count and the budget allow it. */
  #dialFailed(reason: Reason, message: string, itsFault = true): void {
    const cluster = this.#cluster!;
    const endpoint = this.#endpoint!;
    const upstream = this.#upstream;
    this.#upstream = null;
    if (upstream !== null) {
      // After a failed handshake an alert is on its way; else there is nothing to deliver.
      if (reason === "dial_failed" || reason === "dial_timeout") upstream.reset();
      else upstream.finish();
    }
    if (itsFault) cluster.view.dialFailed(endpoint);
    leave(endpoint);
    this.#endpoint = null;
    this.#failedEndpoints ??= [];
    this.#failedEndpoints.push(endpoint);
    const retries = this.#failedEndpoints.length - 1;
    const left = this.#due - this.#around.transport.now();
    if (retries < cluster.config.connect.retries && left > 0) {
      const next = cluster.view.pick(this.#clientHost(), this.#failedEndpoints);
      // Last, because a yes is spent.
      if (next !== null && cluster.view.mayRetry()) return this.#dial(cluster, next);
    }
    this.#end(reason, retries === 0 ? message : `${message} (the last of ${retries + 1} attempts)`);
  }

  // ── relay ──────────────────────────────────────────────────────────────────────────────────────────────────────────

  #connected(): void {
    const { transport } = this.#around;
    this.record.phase = "relay";
    this.record.lastActive = transport.now();
    this.#armRelay();
    // From here on the relay hears of failures; an idle connection keeps nothing that it does not need.
    this.#downstream.owner = null;
    this.#upstream!.owner = null;
    transport.relay(this.#downstream, this.#upstream!, this.record, this);
  }

  #relayed(end: RelayEnd): void {
    if (end.how === "ok") return this.#end("ok", null);
    const { side, error } = end;
    const unanswered = this.record.bytesDown === 0;
    if (side === "upstream" && unanswered) this.#cluster!.view.dialFailed(this.#endpoint!);
    this.#end(classifyRelay(side, error, unanswered), error?.message ?? null);
  }

  // ── time ───────────────────────────────────────────────────────────────────────────────────────────────────────────

  #enter(phase: Phase, left: number): void {
    this.record.phase = phase;
    this.#phaseStarted = this.#around.transport.now();
    this.#timer.start(Math.max(left, 1));
  }

  /** Sets the timer to the first of idle, half-close and lifetime; the relay only notes when bytes last moved. */
  #armRelay(): void {
    const { halfClose } = this.listener.config.timeouts;
    const due = Math.min(this.#quietUntil(), this.#lifetimeEnds) - this.#around.transport.now();
    // A half-close shortens the limit while the timer runs, or sets the first one: look at least that often.
    const wait = halfClose > 0 ? Math.min(due, halfClose) : due;
    if (wait === Number.POSITIVE_INFINITY) this.#timer.stop();
    else this.#timer.start(Math.max(wait, 1));
  }

  #quietUntil(): number {
    const { idle, halfClose } = this.listener.config.timeouts;
    const half = this.record.endedUp || this.record.endedDown;
    const limit = half && halfClose > 0 ? halfClose : idle;
    return limit > 0 ? this.record.lastActive + limit : Number.POSITIVE_INFINITY;
  }

  #deadline(): void {
    const { timeouts } = this.listener.config;
    switch (this.record.phase) {
      case "sniff":
        return this.#end("hello_timeout", `no complete hello within ${timeouts.hello} ms`);
      case "handshake":
        return this.#end("handshake_timeout", `no complete TLS handshake within ${timeouts.handshake} ms`);
      case "pick":
        return this.#end(
          "no_endpoint",
          `cluster ${this.#cluster!.config.name} was not resolved within ${timeouts.connect} ms`,
        );
      case "dial": {
        const ms = this.#around.transport.now() - this.#phaseStarted;
        // What earlier attempts left of the time may be too little for an endpoint that is well.
        const its =
          ms >= Math.min(this.#cluster!.config.connect.timeout ?? timeouts.connect / 2, timeouts.connect);
        return this.#dialFailed(
          "dial_timeout",
          `${this.#endpoint!.key} did not answer within ${Math.round(ms)} ms`,
          its,
        );
      }
      case "originate":
        // It has said nothing that an alert could answer.
        this.#upstream!.reset();
        this.#upstream = null;
        return this.#dialFailed(
          "upstream_handshake_failed",
          `${this.#endpoint!.key}: no complete TLS handshake within ${timeouts.handshake} ms`,
        );
      case "relay": {
        const now = this.#around.transport.now();
        if (now >= this.#lifetimeEnds) return this.#end("lifetime", `older than ${timeouts.lifetime} ms`);
        if (now < this.#quietUntil()) return this.#armRelay();
        const half = this.record.endedUp || this.record.endedDown;
        if (half && timeouts.halfClose > 0) {
          const open = this.record.endedUp ? "upstream" : "client";
          return this.#end(
            "half_close_timeout",
            `half-closed, and nothing from the ${open} for ${timeouts.halfClose} ms`,
          );
        }
        return this.#end("idle", `no byte either way for ${timeouts.idle} ms`);
      }
    }
  }

  // ── the end ────────────────────────────────────────────────────────────────────────────────────────────────────────

  #refuse(reason: Reason, message: string, alert: number | null): void {
    if (alert !== null) this.#downstream.send(plainAlert(alert));
    this.#end(reason, message);
  }

  #end(reason: Reason, message: string | null): void {
    if (this.#over) return;
    this.#over = true;
    this.#timer.stop();
    this.#waiting?.cancel();
    const now = this.#around.transport.now();
    const { record } = this;
    record.reason = reason;
    record.error = message;
    record.durationMs = now - record.started;
    if (record.phase === "handshake") this.#shaken(false);
    if (record.phase === "sniff") record.sniffMs ??= now - record.started;
    record.phase = "ended";
    // While a reader is stuck, an orderly end would pass for the end of the stream.
    const cut = reason === "idle" && (this.#downstream.stuck || this.#upstream?.stuck === true);
    if (endsInOrder(reason) && !cut) {
      this.#downstream.finish();
      this.#upstream?.finish();
    } else {
      this.#downstream.reset();
      this.#upstream?.reset();
    }
    if (this.#endpoint !== null) {
      if (reason === "ok" || record.bytesDown > 0) this.#cluster!.view.dialSucceeded(this.#endpoint);
      leave(this.#endpoint);
    }
    // Who sees, from another thread, that nobody lives any more finds everybody counted.
    this.countFlow();
    countEnded(this.listener.row, record);
    if (this.#source !== null) this.#around.leaveSource(this.listener, this.#source);
    if (this.#admitted) this.#around.leave(this.listener);
    this.#around.ended(this);
  }

  #clientHost(): string | null {
    const { source } = this.record;
    return source.kind === "ip" ? source.host : null;
  }
}

/** What limits count a client by: its address without the port; all of a UNIX socket's clients are one. */
function sourceOf(address: SocketAddress): string {
  return address.kind === "ip" ? address.host : "unix";
}
