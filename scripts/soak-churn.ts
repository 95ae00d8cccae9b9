/**
 * Churn for as long as one likes: plain and TLS listeners, and clients that end in every way: at once, in order, by reset in the
 * middle of bulk, half-closed, as slow readers.
 */
import { type AddressInfo, connect, createServer, type Socket } from "node:net";
import { setTimeout as delay } from "node:timers/promises";
import { connect as connectTls } from "node:tls";
import { type Held, MUTUAL, NAME, Rig, tally } from "./soak-rig.ts";

const WAVE = 60;
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
  await new Promise<void>((resolve) => service.listen(0, "127.0.0.1", resolve));
  const rig = await Rig.start({
    transport,
    target: `127.0.0.1:${(service.address() as AddressInfo).port}`,
    timeouts: { hello: "2s", idle: "3s", half_close: "2s" },
    listeners: [
      { name: "plain", address: "127.0.0.1:0", routes: [{ tls: "none", cluster: "out" }] },
      { name: "tls", address: "127.0.0.1:0", routes: [MUTUAL] },
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
    connections += WAVE;
    await Promise.all(Array.from({ length: WAVE }, (_, i) => one(rig, i)));
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
  return end.descriptors <= baseline.descriptors && end.dirty <= baseline.dirty + GROWTH;
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
