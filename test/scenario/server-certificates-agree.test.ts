/**
 * Ensures that some two hundred server certificates, right, wrong and odd, are accepted or refused by the table where a cluster
 * originates TLS: by server name, by the endpoint's address and by rules, with the same reason, alert and words on both transports.
 */
import assert from "node:assert/strict";
import { once } from "node:events";
import type { Socket } from "node:net";
import { join } from "node:path";
import { createServer as createTlsServer, type Server } from "node:tls";
import { directoryWith } from "../gear/certificates.ts";
import { bothSayTheSame, keep, type Seen } from "../gear/judged.ts";
import { keyOf, pem } from "../gear/mint.ts";
import { asServer, BUNDLE, BY_LEVEL, type Odd, OK } from "../gear/odd-certificates.ts";
import { oddChains } from "../gear/odd-chains.ts";
import { oddLeaves, severalFaults } from "../gear/odd-leaves.ts";
import { oddNames, SERVER_DOORS } from "../gear/odd-names.ts";
import { ended, lastWords } from "../gear/peers.ts";
import { type Scene, Service, type Stage, scenario } from "../gear/scene.ts";

const VERSIONS = ["TLSv1.2", "TLSv1.3"] as const;

/** A server that shows another certificate to each connection, and keeps what it was told. */
class Showing {
  readonly server: Server = createTlsServer();
  readonly #sockets = new Set<Socket>();
  #heard: Error[] = [];

  constructor() {
    this.server.on("connection", (socket: Socket) => {
      this.#sockets.add(socket);
      socket.on("close", () => this.#sockets.delete(socket));
    });
    this.server.on("tlsClientError", (error) => this.#heard.push(error));
    this.server.on("secureConnection", (socket) => {
      socket.on("error", (error) => this.#heard.push(error));
      socket.once("data", () => socket.end("welcome"));
    });
  }

  async listen(): Promise<Service> {
    this.server.listen(0, "127.0.0.1");
    await once(this.server, "listening");
    return new Service(this.server, this.#sockets);
  }

  show(odd: Pick<Odd, "chain" | "key">, version: (typeof VERSIONS)[number]): void {
    this.#heard = [];
    this.server.setSecureContext({
      minVersion: version,
      maxVersion: version,
      cert: pem(...odd.chain),
      key: odd.key.pem,
      // The peer may be as careless as it likes.
      ciphers: "DEFAULT@SECLEVEL=0",
    });
  }

  /** The alert that came; once every connection is closed. */
  async alert(): Promise<number | null> {
    for (const socket of this.#sockets) await once(socket, "close");
    const text = this.#heard.map(({ message }) => message).join(" ");
    const number = /SSL alert number (\d+)/.exec(text)?.[1];
    return number === undefined ? null : Number(number);
  }
}

/** One listener per door, each before a cluster that wants somebody else; behind all of them the same server. */
async function doors(scene: Scene): Promise<{ showing: Showing; stage: Stage }> {
  const showing = new Showing();
  const service = await showing.listen();
  scene.onClose(() => service.close());
  const files = directoryWith({ ca: pem(...BUNDLE) });
  scene.onClose(files.remove);
  const names = Object.keys(SERVER_DOORS);
  const stage = await scene.proxy({
    identities: { trust: { ca: join(files.path, "ca") } },
    listeners: names.map((name) => ({
      name,
      address: "127.0.0.1:0",
      routes: [{ tls: "none" as const, cluster: name }],
    })),
    clusters: Object.fromEntries(
      Object.entries(SERVER_DOORS).map(([name, tls]) => [
        name,
        { endpoints: [service.address], tls: { identity: "trust", ...tls } },
      ]),
    ),
  });
  return { showing, stage };
}

interface Row extends Seen {
  /** Null: the version of OpenSSL decides, or the server itself, which in TLS 1.2 may have no cipher for such a key. */
  readonly expected: string | null;
  readonly heard: number | null;
}

class Judging {
  readonly rows: Row[] = [];
  readonly #scene: Scene;
  readonly #showing: Showing;
  readonly #stage: Stage;

  constructor(scene: Scene, showing: Showing, stage: Stage) {
    this.#scene = scene;
    this.#showing = showing;
    this.#stage = stage;
  }

  async show(
    door: string,
    version: (typeof VERSIONS)[number],
    odd: Pick<Odd, "what" | "chain" | "key" | "server">,
  ): Promise<void> {
    const what = `${odd.what}, ${door}, ${version}`;
    this.#showing.show(odd, version);
    const client = await this.#scene.client(this.#stage.port(door));
    const last = lastWords(client);
    client.write("ping");
    const { bytes, how } = await last;
    client.destroy();
    const alert = await this.#showing.alert();
    if (odd.server !== OK && odd.server !== BY_LEVEL) assert.equal(`${bytes}, ${how}`, ", ECONNRESET", what);
    // Node has no call that sends an alert of ours in TLS 1.2.
    if (version === "TLSv1.2") this.rows.push({ what, heard: null, expected: null });
    else this.rows.push({ what, alert, heard: alert, expected: odd.server === BY_LEVEL ? null : odd.server });
  }

  async verdict(): Promise<void> {
    const lines = await ended(this.#stage, this.rows.length);
    const found = lines.map(({ reason }, at) => {
      const { what, heard } = this.rows[at]!;
      return `${what}: ${heard === null ? reason : `${reason} ${heard}`}`;
    });
    const told = (_: unknown, at: number) => this.rows[at]!.expected !== null;
    assert.deepEqual(
      found.filter(told),
      this.rows.filter(told).map(({ what, expected }) => `${what}: ${expected}`),
    );
    keep(this.#scene.transport, this.rows, lines);
  }
}

scenario("server certificates have the verdict of the table", async (scene) => {
  const { showing, stage } = await doors(scene);
  const judging = new Judging(scene, showing, stage);
  for (const odd of [...oddLeaves(), ...oddChains()]) {
    for (const version of VERSIONS) await judging.show("any", version, odd);
  }
  for (const { what, certificate, server } of oddNames()) {
    for (const door of Object.keys(SERVER_DOORS)) {
      const verdict = server.split(" ").includes(door) ? OK : asServer("denied 46");
      const odd = { what, chain: [certificate], key: keyOf("p256"), server: verdict };
      await judging.show(door, "TLSv1.3", odd);
    }
  }
  await judging.verdict();
});

bothSayTheSame();

scenario("a server of several faults is accepted by neither transport", async (scene) => {
  const { showing, stage } = await doors(scene);
  const judging = new Judging(scene, showing, stage);
  for (const odd of severalFaults()) {
    const client = scene.transport === "net" ? (odd.net ?? odd.client) : odd.client;
    for (const version of VERSIONS) await judging.show("any", version, { ...odd, server: asServer(client) });
  }
  await judging.verdict();
});
