/** HAProxy as a neighbour, in front of us or behind, which writes one line per connection to its standard output. */
import { writeFileSync } from "node:fs";
import { connect } from "node:net";
import { join } from "node:path";
import { authority, leaf } from "./certificates.ts";
import { startProgram } from "./programs.ts";
import { eventually, type Scene } from "./scene.ts";

export interface Haproxy {
  readonly port: number;
  readonly address: string;
  /** The lines of the connections that have ended, once there are so many. */
  lines(count: number): Promise<string[]>;
}

export interface HaproxyOptions {
  /** What `bind` has beside its address; `FOLDER/edge` is a certificate with key, `FOLDER/ca` the test CA. */
  readonly bind?: string;
  /** Where it goes, and what `server` has beside that. */
  readonly target: { readonly port: number };
  readonly send?: string;
  /** Further lines of the front. */
  readonly front?: readonly string[];
  /** What it writes of a connection, as its log format has it. */
  readonly format: string;
}

const MARK = "seen: ";

export async function haproxy(scene: Scene, options: HaproxyOptions): Promise<Haproxy> {
  const server = await leaf("server");
  const ca = (await authority()).cert;
  const { bind = "", target, send = "", front = [], format } = options;
  const running = await startProgram(scene, "haproxy", /polling mechanism/, (folder, port) => {
    writeFileSync(join(folder, "edge"), server.cert + server.key);
    writeFileSync(join(folder, "ca"), ca);
    const lines = [
      "global",
      "  nbthread 1",
      "  log stdout format raw local0",
      `  stats socket ${folder}/stats`,
      "defaults",
      "  mode tcp",
      "  log global",
      "  timeout connect 5s",
      "  timeout client 20s",
      "  timeout server 20s",
      "frontend in",
      `  bind 127.0.0.1:${port} ${bind.replaceAll("FOLDER", folder)}`,
      `  log-format "${MARK}${format}"`,
      ...front.map((line) => `  ${line}`),
      "  default_backend out",
      "backend out",
      `  server one 127.0.0.1:${target.port} ${send.replaceAll("FOLDER", folder)}`,
    ];
    writeFileSync(join(folder, "conf"), `${lines.join("\n")}\n`);
    return ["-V", "-db", "-f", join(folder, "conf")];
  });
  // It does not say when it serves, but whoever is answered here is served there.
  let answers = false;
  const asking = setInterval(
    () => void answered(join(running.folder, "stats")).then((yes) => (answers ||= yes)),
    10,
  );
  try {
    await eventually(() => answers, "HAProxy serves", running.said);
  } finally {
    clearInterval(asking);
  }
  const seen = (): string[] =>
    running
      .said()
      .split("\n")
      .filter((line) => line.startsWith(MARK))
      .map((line) => line.slice(MARK.length));
  return {
    port: running.port,
    address: `127.0.0.1:${running.port}`,
    lines: async (count) => {
      await eventually(() => seen().length >= count, `${count} lines of HAProxy`, running.said);
      return seen();
    },
  };
}

function answered(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(path, () => socket.write("show info\n"));
    socket.once("data", () => {
      resolve(true);
      socket.destroy();
    });
    socket.on("error", () => resolve(false));
  });
}
