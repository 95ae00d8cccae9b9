/**
 * Handshakes by the ten thousand, of every outcome: full, resumed, refused (no certificate, another CA, no rule), and aborted by a
 * FIN or a reset after every byte of the client's flights. What they took must be given back. The first two kinds come from the C
 * generator of native-bench (or its portable twin, which is slower), the others from here.
 */
import { createServer, type Socket } from "node:net";
import { join } from "node:path";
import { type ConnectionOptions, connect as connectTls } from "node:tls";
import { buildGenerator, type Generator, runLoad } from "../native-bench/generator.ts";
import { cutHandshake } from "../test/gear/cut.ts";
import { type Held, MUTUAL, NAME, Rig, tally } from "./soak-rig.ts";

/** Shares of the whole. */
const SHARES = { full: 0.45, resumed: 0.25, refused: 0.15, aborted: 0.15 } as const;
type Kind = keyof typeof SHARES;

// The first round fills caches, pools and the heaps of V8; growth is measured behind it.
const ROUNDS = 6;
const AT_ONCE = 16;
// A run of the generator must end by then.
const LIMIT_MS = 120_000;

/** What may stay, in kB: first of malloc (caches of peers, chains and sessions are bounded), then of everything (V8's heaps breathe). */
const MALLOC_GROWTH = 2 * 1024;
const RESIDENT_GROWTH = 32 * 1024;

/** Makes so many handshakes. Resolves with whether memory and descriptors came back to where they were after the first round. */
export async function handshakes(count: number, transport: string): Promise<boolean> {
  const { generator, reason } = buildGenerator();
  if (reason !== null) console.log(`the portable generator is used: ${reason}`);
  const target = await freePort();
  const rig = await Rig.start({
    transport,
    targets: { out: `127.0.0.1:${target}` },
    timeouts: { hello: "5s", handshake: "5s", half_close: "5s" },
    listeners: [{ name: "tls", address: "127.0.0.1:0", routes: [MUTUAL] }],
  });
  const soak = new Handshakes(rig, generator, target);
  let baseline: Held | null = null;
  let end: Held | null = null;
  for (let round = 0; round < ROUNDS; round++) {
    for (const kind of Object.keys(SHARES) as Kind[]) {
      await soak.run(kind, Math.ceil((count * SHARES[kind]) / ROUNDS));
    }
    end = await rig.held();
    baseline ??= end;
    await soak.report(round, end);
  }
  console.log(tally(rig.reasons));
  await rig.stop();
  if (end === null || baseline === null) return false;
  return judge(baseline, end);
}

function judge(baseline: Held, end: Held): boolean {
  const grown = end.malloc === null || baseline.malloc === null ? 0 : end.malloc - baseline.malloc;
  console.log(
    `behind the first round: malloc ${signed(grown)} kB, resident ${signed(end.resident - baseline.resident)} kB, ` +
      `dirty ${signed(end.dirty - baseline.dirty)} kB, descriptors ${signed(end.descriptors - baseline.descriptors)}`,
  );
  return (
    grown <= MALLOC_GROWTH &&
    end.resident - baseline.resident <= RESIDENT_GROWTH &&
    end.descriptors <= baseline.descriptors
  );
}

function signed(value: number): string {
  return value < 0 ? String(value) : `+${value}`;
}

class Handshakes {
  readonly #rig: Rig;
  readonly #generator: Generator;
  readonly #service: number;
  /** Where the next abort cuts, and how. */
  #cut = 0;
  #refusal = 0;
  readonly #done: Record<Kind, number> = { full: 0, resumed: 0, refused: 0, aborted: 0 };

  constructor(rig: Rig, generator: Generator, service: number) {
    this.#rig = rig;
    this.#generator = generator;
    this.#service = service;
  }

  async run(kind: Kind, count: number): Promise<void> {
    if (kind === "full" || kind === "resumed") await this.#load(kind, count);
    else {
      const next = kind === "refused" ? () => this.#refused() : () => this.#aborted();
      for (let left = count; left > 0; left -= AT_ONCE) {
        await Promise.all(Array.from({ length: Math.min(AT_ONCE, left) }, next));
      }
      this.#done[kind] += count;
    }
  }

  async report(round: number, held: Held): Promise<void> {
    const { full, resumed, refused, aborted } = this.#done;
    const sum = full + resumed + refused + aborted;
    console.log(
      `round ${round + 1}: ${sum} handshakes (full ${full}, resumed ${resumed}, refused ${refused}, aborted ${aborted})  ` +
        `${held.descriptors} descriptors  resident ${held.resident} kB  dirty ${held.dirty} kB  ` +
        `malloc ${held.malloc === null ? "unknown" : `${held.malloc} kB`}`,
    );
  }

  /** The generator runs for a time, not for a count: a short run tells how fast it goes. */
  async #load(kind: "full" | "resumed", count: number): Promise<void> {
    let rate = 0;
    for (let left = count; left > 0; ) {
      const seconds = rate === 0 ? 0.2 : Math.max(0.1, Math.min(20, left / rate));
      const before = await this.#counted(kind);
      await runLoad(this.#generator, this.#options(kind, seconds), LIMIT_MS);
      const made = (await this.#counted(kind)) - before;
      if (made === 0) throw new Error(`no ${kind} handshake came about`);
      this.#done[kind] += made;
      left -= made;
      rate = made / seconds;
    }
  }

  #options(kind: "full" | "resumed", seconds: number): string[] {
    const file = (name: string) => join(this.#rig.folder, name);
    return [
      ...["crr", "--target", `127.0.0.1:${this.#rig.port("tls")}`, "--service", `127.0.0.1:${this.#service}`],
      ...[
        "--tls",
        "--sni",
        NAME,
        "--ca",
        file("ca.crt"),
        "--cert",
        file("alice.crt"),
        "--key",
        file("alice.key"),
      ],
      // Every source address has ports of its own, so that those that wait (TIME_WAIT) are not missed.
      ...["--close", "client-fin", "--connections", "8", "--sources", "16"],
      ...["--seconds", seconds.toFixed(2), "--warmup", "0", ...(kind === "resumed" ? ["--resume"] : [])],
    ];
  }

  #counted(kind: "full" | "resumed"): Promise<number> {
    const resumed = new RegExp(`resumed="${kind === "resumed"}".*result="ok"`);
    return this.#rig.counted("millrace_handshakes_total", resumed);
  }

  #refused(): Promise<void> {
    const { certificates } = this.#rig;
    const who = [null, certificates.strange, certificates.mallory][this.#refusal % 3];
    const version = this.#refusal % 2 === 0 ? "TLSv1.3" : "TLSv1.2";
    this.#refusal += 1;
    const socket = connectTls({ ...this.#client(version), ...(who ?? { cert: undefined, key: undefined }) });
    return closed(socket);
  }

  #client(version: "TLSv1.2" | "TLSv1.3"): ConnectionOptions {
    return {
      port: this.#rig.port("tls"),
      host: "127.0.0.1",
      servername: NAME,
      rejectUnauthorized: false,
      minVersion: version,
      maxVersion: version,
    } as ConnectionOptions;
  }

  /** Alice's handshake, of which only so many bytes arrive; one more the next time, and from the start again behind the last. */
  async #aborted(): Promise<void> {
    const turn = this.#cut++;
    const { port: _port, host: _host, ...options } = this.#client(turn % 2 === 0 ? "TLSv1.3" : "TLSv1.2");
    const how = (turn & 2) === 0 ? "reset" : "end";
    const alice = { ...options, ...this.#rig.certificates.alice };
    await cutHandshake(this.#rig.port("tls"), (turn >> 2) % (FLIGHTS + 1), how, alice);
  }
}

/** What a client of ours sends in a handshake with its certificate, a few bytes more or less: hello, certificate, proof, finished. */
const FLIGHTS = 1_500;

function closed(socket: Socket): Promise<void> {
  socket.on("error", () => {});
  socket.on("data", () => {});
  socket.on("end", () => socket.destroy());
  return new Promise((resolve) => socket.on("close", () => resolve()));
}

/** A port on which the generator will listen. */
function freePort(): Promise<number> {
  return new Promise((resolve) => {
    const server = createServer().listen(0, "127.0.0.1", () => {
      const { port } = server.address() as { port: number };
      server.close(() => resolve(port));
    });
  });
}
