/**
 * Peers that a scenario scripts byte by byte, and what they saw: the last bytes before the end, how it came, and which alert
 * said so. Also real ones: a TLS client of Node's and an `openssl s_server`.
 */
import { spawn } from "node:child_process";
import { connect, type Socket } from "node:net";
import { join } from "node:path";
import { type ConnectionOptions, connect as connectTls } from "node:tls";
import { sumListener } from "../../lib/observe/counters.ts";
import type { Pair } from "../../lib/tls/authority.ts";
import { directoryWith } from "./certificates.ts";
import type { Access, Scene, Stage } from "./scene.ts";

/** All that a peer heard, and how it ended: `end` (FIN) or an error code (`ECONNRESET`). */
export interface LastWords {
  readonly bytes: Buffer;
  readonly how: string;
}

/** Reads to the end. Call it right after connecting, so that nothing is missed. */
export function lastWords(socket: Socket): Promise<LastWords> {
  return new Promise((resolve) => {
    const chunks: Buffer[] = [];
    const done = (how: string): void => resolve({ bytes: Buffer.concat(chunks), how });
    socket.on("data", (chunk: Buffer) => chunks.push(chunk));
    socket.on("end", () => done("end"));
    socket.on("error", (error: NodeJS.ErrnoException) => done(error.code ?? error.message));
    socket.on("close", () => done("close"));
  });
}

/** A fatal alert in the clear, as a client sees it that has no keys yet. */
export function fatalAlert(number: number): Buffer {
  return Buffer.from([21, 3, 3, 0, 2, 2, number]);
}

/** How often each reason ended a connection of a listener, by the counters: one record each, or this shows it. */
export function reasons(stage: Stage, listener: string): Record<string, number> {
  const { reasons: totals } = sumListener(stage.proxy.listenerRows().get(listener)!);
  return Object.fromEntries(
    totals.filter(({ total }) => total > 0).map(({ reason, total }) => [reason, total]),
  );
}

/** The access lines of the next connections that end. Lines come in batches: ask for many at once. */
export async function ended(stage: Stage, count: number): Promise<Access[]> {
  const lines: Access[] = [];
  while (lines.length < count) lines.push(await stage.access());
  return lines;
}

/** What a TLS client saw. */
export interface ClientVerdict {
  /** The fatal alert it received. */
  readonly alert: number | null;
  /** `end`, or the code of the error. */
  readonly how: string;
  readonly answer: string;
  readonly version: string | null;
  readonly alpn: string | false | null;
  readonly resumed: boolean;
  /** The newest session, for resumption. */
  readonly session: Buffer | null;
  /** Common name of the certificate that the other side showed. */
  readonly shown: string | null;
}

/** Connects with Node's TLS, says `ping`, and reads until the other side ends. Verifies nothing itself. */
export function tlsVerdict(
  port: number,
  options: ConnectionOptions = {},
  ping = "ping",
): Promise<ClientVerdict> {
  return new Promise((resolve) => {
    let answer = "";
    let version: string | null = null;
    let session: Buffer | null = null;
    let shown: string | null = null;
    let alpn: string | false | null = null;
    let resumed = false;
    const socket = connectTls({ port, host: "127.0.0.1", rejectUnauthorized: false, ...options });
    const done = (how: string, alert: number | null): void => {
      socket.destroy();
      resolve({ alert, how, answer, version, alpn, resumed, session, shown });
    };
    socket.on("secureConnect", () => {
      version = socket.getProtocol();
      alpn = socket.alpnProtocol;
      resumed = socket.isSessionReused();
      shown = resumed ? null : String(socket.getPeerCertificate().subject?.CN ?? "");
      socket.write(ping);
    });
    socket.on("session", (newest: Buffer) => {
      session = newest;
    });
    socket.on("data", (chunk: Buffer) => {
      answer += chunk;
    });
    // Its own close_notify goes before it closes.
    socket.on("end", () => socket.end(() => done("end", null)));
    socket.on("error", (error: NodeJS.ErrnoException) => {
      const number = /SSL alert number (\d+)/.exec(error.message)?.[1];
      done(error.code ?? error.message, number === undefined ? null : Number(number));
    });
  });
}

/**
 * A real TLS server: `openssl s_server` that sends each line back in reverse, and ends at the line CLOSE; or, with `-www`, answers an
 * HTTP request with what it knows of the connection.
 */
export async function sServer(
  scene: Scene,
  pair: Pair,
  args: readonly string[] = [],
  mode: "-rev" | "-www" = "-rev",
): Promise<{ port: number }> {
  const files = directoryWith({ "s.crt": pair.cert, "s.key": pair.key });
  const child = spawn("openssl", [
    "s_server",
    ...[
      "-accept",
      "127.0.0.1:0",
      "-cert",
      join(files.path, "s.crt"),
      "-key",
      join(files.path, "s.key"),
      mode,
    ],
    ...args,
  ]);
  const closed = new Promise<void>((resolve) => child.on("close", () => resolve()));
  scene.onClose(async () => {
    child.kill("SIGKILL");
    await closed;
    files.remove();
  });
  let output = "";
  const port = await new Promise<number>((resolve, reject) => {
    const heard = (chunk: Buffer): void => {
      output += chunk;
      const found = /^ACCEPT .*:(\d+)$/m.exec(output);
      if (found !== null) resolve(Number(found[1]));
    };
    child.stdout.on("data", heard);
    child.stderr.on("data", heard);
    child.on("error", reject);
    child.on("close", () => reject(new Error(`openssl s_server ended: ${output}`)));
  });
  return { port };
}

/** Connects, does one thing, and forgets the socket: for floods. */
export function knock(port: number, act: (socket: Socket) => void): Promise<LastWords> {
  const socket = connect({ port, host: "127.0.0.1", allowHalfOpen: true });
  socket.on("connect", () => act(socket));
  const heard = lastWords(socket);
  void heard.then(() => socket.destroy());
  return heard;
}
