/**
 * `millrace quickstart`: a whole tunnel in one process, to look at. Makes a throw-away CA, starts an echo and an HTTP service,
 * a server tunnel before them and a client tunnel before that, sends real traffic through, and tells from the access lines
 * who was let in and who was not. With `once` it exits 1 where that was not as it should be.
 */
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { createServer as createHttp, get, type Server as HttpServer } from "node:http";
import { type AddressInfo, connect, createServer, type Server } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { connect as connectTls } from "node:tls";
import { type ConfigInput, normalizeConfig } from "../config/parse.ts";
import { ProxyError } from "../errors.ts";
import type { Log } from "../observe/log.ts";
import { openLog } from "../observe/log.ts";
import { Proxy } from "../proxy.ts";
import { Authority, type Pair } from "../tls/authority.ts";
import type { SocketAddress } from "../wire/address.ts";

const ECHO = "echo.millrace.test";
const WEB = "web.millrace.test";
// A line leaves 100 ms after its connection ended.
const LINE_MS = 5_000;

interface Access {
  readonly listener: string;
  readonly reason: string;
  readonly error?: string;
  readonly link?: string;
}

export async function quickstart(args: {
  readonly once: boolean;
  readonly transport: "auto" | "epoll" | "net";
}): Promise<number | undefined> {
  const started = performance.now();
  const directory = await mkdtemp(join(tmpdir(), "millrace-"));
  const accesses = new Accesses();
  const services: (Server | HttpServer)[] = [];
  const proxies: Proxy[] = [];
  const release = async (): Promise<void> => {
    for (const proxy of proxies) await proxy.close();
    for (const service of services) service.close();
    await rm(directory, { recursive: true, force: true });
  };
  try {
    say("Millrace quickstart: an mTLS tunnel, start to end, on this machine only.\n");
    const authority = await Authority.create({ commonName: "Quickstart CA", days: 1 });
    const other = await Authority.create({ commonName: "Somebody else's CA", days: 1 });
    const edge = await authority.issue({ commonName: "edge", dns: [ECHO, WEB], days: 1 });
    const alice = await authority.issue({ commonName: "alice", dns: ["alice.clients.test"], days: 1 });
    const mallory = await authority.issue({
      commonName: "mallory",
      dns: ["mallory.elsewhere.test"],
      days: 1,
    });
    const forged = await other.issue({ commonName: "alice", dns: ["alice.clients.test"], days: 1 });
    await writeFile(join(directory, "ca.crt"), authority.cert);
    await save(directory, "edge", edge);
    await save(directory, "alice", alice);
    say("  A CA that lives for a day, and certificates for edge, alice and mallory.");

    const echo = createServer({ allowHalfOpen: true }, (socket) => socket.on("error", () => {}).pipe(socket));
    const web = createHttp((_, response) => response.end("hello from the plain HTTP service\n"));
    services.push(echo, web);
    const echoPort = await listening(echo);
    const webPort = await listening(web);
    say(`  Plain services: echo on 127.0.0.1:${echoPort}, HTTP on 127.0.0.1:${webPort}.`);

    const server = new Proxy(config(args.transport, directory, serverConfig(echoPort, webPort)), {
      log: accesses,
    });
    proxies.push(server);
    await server.start();
    const edgePort = portOf(server.addresses.get("edge"));
    const client = new Proxy(config(args.transport, directory, clientConfig(edgePort)), { log: accesses });
    proxies.push(client);
    await client.start();
    const echoIn = portOf(client.addresses.get("to-echo"));
    const webIn = portOf(client.addresses.get("to-web"));
    say(`  Server tunnel: mTLS on 127.0.0.1:${edgePort}, lets in *.clients.test.`);
    say(`  Client tunnel: 127.0.0.1:${echoIn} (echo) and 127.0.0.1:${webIn} (HTTP), as alice.`);
    say(`  Both on transport ${server.choice?.transport}.\n`);

    say("Let in:");
    const back = await exchange(echoIn, "hello, mill");
    const echoed = report(
      back === "hello, mill",
      `plain client → tunnel → echo: ${JSON.stringify(back)} came back`,
      await accesses.next("edge"),
    );
    const page = await fetchPage(webIn);
    const fetched = report(
      page.startsWith("hello from"),
      `plain HTTP → tunnel → service: ${JSON.stringify(page.trim())}`,
      await accesses.next("edge"),
    );
    let good = echoed && fetched;

    say("\nRefused, each with a TLS alert and its own line in the log:");
    const tries: [string, string, Pair | null, string][] = [
      ["nobody (no certificate)", ECHO, null, authority.cert],
      ["mallory (right CA, name not allowed)", ECHO, mallory, authority.cert],
      ["alice forged by another CA", ECHO, forged, authority.cert],
      ["alice asking for an unknown name", "nowhere.millrace.test", alice, authority.cert],
    ];
    for (const [who, name, pair, ca] of tries) {
      const seen = await knock(edgePort, name, pair, ca);
      const access = await accesses.next("edge");
      good = report(access.reason !== "ok", `${who}\n      saw: ${seen}`, access) && good;
    }

    if (args.once) {
      say(`\nAll of it in ${((performance.now() - started) / 1000).toFixed(1)} s.`);
      await release();
      return good ? 0 : 1;
    }
    say(`
Still running. Try, in another terminal:

  curl http://127.0.0.1:${webIn}/

  curl --resolve ${WEB}:${edgePort}:127.0.0.1 \\
    --cacert ${directory}/ca.crt \\
    --cert ${directory}/alice.crt --key ${directory}/alice.key \\
    https://${WEB}:${edgePort}/

  openssl s_client -connect 127.0.0.1:${edgePort} -servername ${ECHO} \\
    -CAfile ${directory}/ca.crt

Access lines follow. Ctrl-C ends it and removes ${directory}.
`);
    accesses.follow(openLog({ level: "info", access: true, format: "auto" }));
    const stop = (): void => {
      void release().finally(() => process.exit(0));
    };
    process.once("SIGINT", stop);
    process.once("SIGTERM", stop);
    return undefined;
  } catch (thrown) {
    await release();
    throw thrown;
  }
}

function serverConfig(echoPort: number, webPort: number): Parts {
  const route = {
    tls: "terminate" as const,
    identity: "edge",
    client_auth: "required" as const,
    allow: [{ dns: "*.clients.test" }],
  };
  return {
    identities: { edge: { cert: "edge.crt", key: "edge.key", ca: "ca.crt" } },
    listeners: [
      {
        name: "edge",
        address: "127.0.0.1:0",
        routes: [
          { name: "echo", match: { sni: [ECHO] }, cluster: "echo", ...route },
          { name: "web", match: { sni: [WEB] }, cluster: "web", ...route },
        ],
      },
    ],
    clusters: {
      echo: { endpoints: [`127.0.0.1:${echoPort}`] },
      web: { endpoints: [`127.0.0.1:${webPort}`] },
    },
  };
}

function clientConfig(edgePort: number): Parts {
  const towards = (name: string) => ({
    endpoints: [`127.0.0.1:${edgePort}`],
    tls: { identity: "alice", server_name: name, verify: [{ dns: name }] },
  });
  return {
    identities: { alice: { cert: "alice.crt", key: "alice.key", ca: "ca.crt" } },
    listeners: [
      { name: "to-echo", address: "127.0.0.1:0", routes: [{ tls: "none", cluster: "echo" }] },
      { name: "to-web", address: "127.0.0.1:0", routes: [{ tls: "none", cluster: "web" }] },
    ],
    clusters: { echo: towards(ECHO), web: towards(WEB) },
  };
}

type Parts = Pick<ConfigInput, "identities" | "listeners" | "clusters">;

function config(transport: "auto" | "epoll" | "net", directory: string, parts: Parts) {
  return normalizeConfig({ transport, workers: 1, ...parts }, { directory });
}

/** A log that keeps the access lines until they are asked for, then hands them to a real one. */
class Accesses implements Log {
  readonly events = openLog({ level: "silent", access: false, format: "json" }).events;
  #seen: Access[] = [];
  #wanted: { listener: string; found: (access: Access) => void } | null = null;
  #out: Log | null = null;

  lines(bytes: Buffer, written: () => void): void {
    if (this.#out !== null) return this.#out.lines(bytes, written);
    for (const line of bytes.toString().split("\n"))
      if (line !== "") this.#seen.push(JSON.parse(line) as Access);
    written();
    this.#match();
  }

  /** The next line of that listener. Rejects when none comes. */
  next(listener: string): Promise<Access> {
    return new Promise((resolve, reject) => {
      const none = new ProxyError("INTERNAL", `no access line of listener ${listener} within ${LINE_MS} ms`);
      const late = setTimeout(reject, LINE_MS, none);
      const found = (access: Access): void => {
        clearTimeout(late);
        resolve(access);
      };
      this.#wanted = { listener, found };
      this.#match();
    });
  }

  follow(out: Log): void {
    this.#out = out;
  }

  level(): void {}

  close(): Promise<void> {
    return Promise.resolve();
  }

  #match(): void {
    const wanted = this.#wanted;
    if (wanted === null) return;
    const at = this.#seen.findIndex((access) => access.listener === wanted.listener);
    if (at === -1) return;
    const [access] = this.#seen.splice(at, 1);
    this.#wanted = null;
    wanted.found(access!);
  }
}

function say(text: string): void {
  process.stdout.write(`${text}\n`);
}

/** Returns `good`. */
function report(good: boolean, what: string, access: Access): boolean {
  const detail = access.error === undefined ? "" : ` (${access.error})`;
  say(`  ${good ? "✓" : "✗"} ${what}`);
  for (const line of wrap(`log: reason ${access.reason}${detail}`, 74)) say(`      ${line}`);
  return good;
}

function wrap(text: string, width: number): string[] {
  const lines: string[] = [];
  let line = "";
  for (const word of text.split(" ")) {
    if (line !== "" && line.length + word.length + 1 > width) {
      lines.push(line);
      line = `     ${word}`;
    } else {
      line = line === "" ? word : `${line} ${word}`;
    }
  }
  return [...lines, line];
}

async function save(directory: string, name: string, pair: Pair): Promise<void> {
  await writeFile(join(directory, `${name}.crt`), pair.cert);
  await writeFile(join(directory, `${name}.key`), pair.key, { mode: 0o600 });
}

function listening(service: Server | HttpServer): Promise<number> {
  return new Promise((resolve, reject) => {
    service.once("error", reject);
    service.listen(0, "127.0.0.1", () => resolve((service.address() as AddressInfo).port));
  });
}

function portOf(address: SocketAddress | undefined): number {
  return address?.kind === "ip" ? address.port : 0;
}

/** Sends text, half-closes, and resolves with all that comes back. */
function exchange(port: number, text: string): Promise<string> {
  return new Promise((resolve, reject) => {
    let back = "";
    const socket = connect({ port, host: "127.0.0.1", allowHalfOpen: true });
    socket
      .on("connect", () => socket.end(text))
      .on("data", (chunk) => {
        back += chunk;
      })
      .on("end", () => resolve(back))
      .on("error", reject);
  });
}

function fetchPage(port: number): Promise<string> {
  return new Promise((resolve, reject) => {
    get({ host: "127.0.0.1", port, agent: false }, (response) => {
      let page = "";
      response.on("data", (chunk) => {
        page += chunk;
      });
      response.on("end", () => resolve(page));
    }).on("error", reject);
  });
}

/** Knocks at the server tunnel and resolves with what the client gets to see. */
function knock(port: number, servername: string, pair: Pair | null, ca: string): Promise<string> {
  return new Promise((resolve) => {
    const socket = connectTls({
      port,
      host: "127.0.0.1",
      servername,
      ca,
      ...(pair === null ? {} : { cert: pair.cert, key: pair.key }),
    });
    socket
      .on("error", (error: NodeJS.ErrnoException) => resolve(alertOf(error)))
      .on("end", () => resolve("the connection was closed"))
      .on("close", () => resolve("the connection was closed"));
    socket.resume();
  });
}

/** `ERR_SSL_TLSV1_ALERT_UNKNOWN_CA` and its kin, as words. */
function alertOf(error: NodeJS.ErrnoException): string {
  const code = error.code ?? error.message;
  const alert = /ALERT_(.+)$/.exec(code);
  return alert === null ? code : `TLS alert ${alert[1]!.toLowerCase().replaceAll("_", " ")}`;
}
