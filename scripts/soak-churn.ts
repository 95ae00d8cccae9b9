/**
 * Churn for as long as one likes: plain and TLS listeners, and clients that end in every way: at once, in order, by reset in the
 * middle of bulk, half-closed, as slow readers; beside them some that talk in short messages, of which every byte is compared.
 */
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { type AddressInfo, connect, createServer, type Server, type Socket } from "node:net";
import { setTimeout as delay } from "node:timers/promises";
import { connect as connectTls } from "node:tls";
import { type Held, MUTUAL, NAME, Rig, tally } from "./soak-rig.ts";

const WAVE = 60;
const TALKERS = 12;
const MESSAGES = 60;
const STALLED_MS = 20_000;
// Leaves most of a core to others, so that it can run beside them.
const BETWEEN_WAVES_MS = 150;
const REPORT_MS = 30_000;
const BULK = Buffer.alloc(300_007, "b");
// What a heap may grow after its first minute without being called a leak, in kB.
const GROWTH = 24 * 1024;

/** Runs for so many minutes. Resolves with whether everything came back to where it was after the first half minute. */
export async function churn(minutes: number, transport: string): Promise<boolean> {
  let served = 0;
  const service = createServer({ allowHalfOpen: true }, (socket) => {
    served += 1;
    socket.on("error", () => {});
    if (served % 13 === 0) {
      socket.resetAndDestroy();
      return;
    }
    socket.resume();
    socket.write(BULK);
    socket.end();
  });
  const echo = createServer({ allowHalfOpen: true }, (socket) => {
    socket.on("error", () => {});
    socket.pipe(socket);
  });
  const rig = await Rig.start({
    transport,
    targets: { out: await listening(service), echo: await listening(echo) },
    timeouts: { hello: "2s", idle: "3s", half_close: "2s" },
    listeners: [
      { name: "plain", address: "127.0.0.1:0", routes: [{ tls: "none", cluster: "out" }] },
      { name: "tls", address: "127.0.0.1:0", routes: [MUTUAL] },
      { name: "talk", address: "127.0.0.1:0", routes: [{ tls: "none", cluster: "echo" }] },
    ],
  });
  let connections = 0;
  const started = performance.now();
  const report = ({ descriptors, dirty }: Held): void => {
    const passed = ((performance.now() - started) / 60_000).toFixed(1);
    console.log(
      `${passed} min  ${connections} connections  ${descriptors} descriptors  ${dirty} kB  ${tally(rig.reasons)}`,
    );
  };
  let next = started + REPORT_MS;
  let baseline: Held | null = null;
  while (performance.now() < started + minutes * 60_000) {
    connections += WAVE + TALKERS;
    await Promise.all([
      ...Array.from({ length: WAVE }, (_, i) => one(rig, i)),
      ...Array.from({ length: TALKERS }, (_, i) => talk(rig, i)),
    ]);
    await delay(BETWEEN_WAVES_MS);
    if (performance.now() < next) continue;
    next += REPORT_MS;
    const now = await rig.held();
    baseline ??= now;
    report(now);
  }
  const end = await rig.held();
  baseline ??= end;
  report(end);
  await rig.stop();
  service.close();
  echo.close();
  return end.descriptors <= baseline.descriptors && end.dirty <= baseline.dirty + GROWTH;
}

async function listening(server: Server): Promise<string> {
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return `127.0.0.1:${(server.address() as AddressInfo).port}`;
}

/** Says short messages and hears each again, then ends in its way. Throws when an answer is not what was said. */
async function talk(rig: Rig, i: number): Promise<void> {
  const socket = connect({ port: rig.port("talk"), host: "127.0.0.1", allowHalfOpen: true });
  socket.on("error", () => {});
  const closed = new Promise((resolve) => socket.once("close", resolve));
  // An answer that does not come is a failure, too.
  setTimeout(() => socket.destroy(), STALLED_MS).unref();
  const heard = socket.iterator({ destroyOnReturn: false });
  for (let number = 0; number < MESSAGES; number++) {
    const message = randomBytes(1 + ((i * 131 + number * 17) % 900));
    socket.write(message);
    let answer = Buffer.alloc(0);
    while (answer.length < message.length) {
      const { value, done } = await heard.next();
      if (done) throw new Error(`an answer of ${message.length} bytes ended after ${answer.length}`);
      answer = Buffer.concat([answer, value]);
    }
    if (!answer.equals(message)) throw new Error(`message ${number} came back changed`);
  }
  if (i % 3 === 0) socket.resetAndDestroy();
  else if (i % 3 === 1) socket.destroy();
  else {
    socket.end("farewell");
    while (!(await heard.next()).done);
    socket.destroy();
  }
  await closed;
}

/** One connection that ends in its way; resolves when its client side is closed. */
function one(rig: Rig, i: number): Promise<void> {
  const { ca, alice } = rig.certificates;
  return new Promise((resolve) => {
    const tls = i % 3 === 0;
    const socket: Socket = tls
      ? connectTls({
          port: rig.port("tls"),
          host: "127.0.0.1",
          // Now and then nobody's name, or nobody's certificate.
          servername: i % 15 === 0 ? "nowhere.test" : NAME,
          ca,
          ...(i % 12 === 0 ? {} : alice),
        })
      : connect({ port: rig.port("plain"), host: "127.0.0.1", allowHalfOpen: true });
    socket.on("error", () => {});
    socket.on("close", () => resolve());
    socket.once(tls ? "secureConnect" : "connect", () => act(socket, i % 7));
    // A slow reader, and whoever is left over, goes after the proxy's own deadlines.
    setTimeout(() => socket.destroy(), 4_000).unref();
  });
}

function act(socket: Socket, way: number): void {
  switch (way) {
    case 0:
      socket.destroy();
      return;
    case 1:
      // A TLS socket has no reset of its own; closing it with unread answers resets.
      if (!("encrypted" in socket)) socket.resetAndDestroy();
      socket.destroy();
      return;
    case 2:
      socket.resume();
      socket.end();
      return;
    case 3:
      socket.resume();
      socket.write(BULK);
      socket.end();
      return;
    case 4:
      socket.write(BULK, () => socket.destroy());
      return;
    case 5:
      socket.once("data", () => socket.destroy());
      return;
    default:
      socket.pause(); // never reads
  }
}
