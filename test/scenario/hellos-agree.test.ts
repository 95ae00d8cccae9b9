/**
 * Ensures that some three hundred hellos, named, shaped and mutated, find the same route or the same refusal on both transports:
 * passed through byte for byte, terminated, or told why not.
 */
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { edge, type RouteInput, TERMINATE } from "../gear/edge.ts";
import { bothSayTheSame, keep } from "../gear/judged.ts";
import { firstFlights } from "../gear/odd-first-flights.ts";
import { mutatedHellos, namedHellos, type OddHello, shapedHellos } from "../gear/odd-hellos.ts";
import { ended } from "../gear/peers.ts";
import { readAll, type Scene, scenario } from "../gear/scene.ts";

const through = (name: string, match: RouteInput["match"]): Partial<RouteInput> => ({
  name,
  match: match!,
  tls: "passthrough",
});

const ROUTES: readonly Partial<RouteInput>[] = [
  { ...TERMINATE, name: "web", match: { sni: ["web.example.test"] } },
  through("pass", { sni: ["pass.example.test"] }),
  through("wild", { sni: ["*.wild.example.test"] }),
  through("deep", { sni: ["**.deep.example.test"] }),
  through("acme", { alpn: ["acme-tls/1"] }),
];

interface Heard {
  /** As the access line names the client. */
  readonly source: string;
  /** What came back: `alert 112`, `flight` of a server that went on, or what the service said. */
  readonly answer: string;
}

/** Says it, waits for an answer or the end, and ends. */
async function say(scene: Scene, port: number, bytes: Buffer): Promise<Heard> {
  const client = await scene.client(port);
  const source = `127.0.0.1:${client.localPort}`;
  const answer = await new Promise<Buffer>((resolve) => {
    let got: Buffer = Buffer.alloc(0);
    client.on("data", (chunk: Buffer) => {
      got = Buffer.concat([got, chunk]);
      client.end();
    });
    client.on("end", () => client.end());
    client.on("close", () => resolve(got));
    client.write(bytes);
  });
  return { source, answer: describe(answer) };
}

function describe(answer: Buffer): string {
  if (answer.length === 0) return "nothing";
  if (answer[0] === 22) return "flight";
  if (answer[0] === 21 && answer.length === 7) return `alert ${answer[6]}`;
  return answer.toString();
}

scenario("hellos have the verdict of the table", async (scene) => {
  const hellos: OddHello[] = [...namedHellos(), ...shapedHellos(), ...firstFlights(), ...mutatedHellos(180)];
  const arrived: string[] = [];
  const service = await scene.service((socket) => {
    void readAll(socket).then((bytes) => arrived.push(hash(bytes)));
    socket.once("data", () => socket.end("welcome"));
  });
  const stage = await edge(scene, service, ROUTES, { timeouts: { hello: "1s", handshake: "1s" } });
  const port = stage.port("in");
  const heard = await Promise.all(hellos.map(({ bytes }) => say(scene, port, bytes)));
  const bySource = new Map((await ended(stage, hellos.length)).map((line) => [line.source, line]));
  const lines = heard.map(({ source }) => bySource.get(source)!);
  const rows = hellos.map(({ what, verdict }, at) => {
    const { reason, route = "-" } = lines[at]!;
    return { what: `${what}: ${heard[at]!.answer}`, verdict, found: `${what}: ${reason} ${route}` };
  });
  const known = rows.filter(({ verdict }) => verdict !== null);
  assert.deepEqual(
    known.map(({ found }) => found),
    hellos.filter(({ verdict }) => verdict !== null).map(({ what, verdict }) => `${what}: ${verdict}`),
  );
  const passed = hellos.filter((_, at) => lines[at]!.reason === "ok");
  assert.deepEqual(arrived.sort(), passed.map(({ bytes }) => hash(bytes)).sort(), "byte for byte, once");
  keep(scene.transport, rows, lines);
});

bothSayTheSame();

function hash(bytes: Buffer): string {
  return createHash("sha256").update(bytes).digest("hex");
}
