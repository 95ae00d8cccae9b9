/** `gnutls-cli` as a client that shares no line with OpenSSL: another library's view of our handshakes, ends and tickets. */
import { spawn } from "node:child_process";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import type { Pair } from "../../lib/tls/authority.ts";
import { authority, directoryWith } from "./certificates.ts";

export interface GnutlsResult {
  readonly code: number | null;
  /** What came through TLS, byte for byte. */
  readonly bytes: Buffer;
  /** What it says about its connections, both with `--resume`. */
  readonly log: string;
  /** The fatal alert it received; null for none. */
  readonly alert: number | null;
  readonly resumed: boolean;
  /** What it exported under `label`, once per connection, in hex. */
  readonly exported: readonly string[];
}

export interface GnutlsOptions {
  readonly version: "1.2" | "1.3";
  readonly name: string;
  readonly pair: Pair | null;
  /** Exports 16 bytes under this label. */
  readonly label: string;
  readonly args?: readonly string[];
}

/** Connects, sends `input`, ends its direction, and reads to the end. */
export async function gnutlsCli(port: number, input: Buffer, options: GnutlsOptions): Promise<GnutlsResult> {
  const { version, name, pair, label, args = [] } = options;
  const files = directoryWith({
    ca: (await authority()).cert,
    ...(pair === null ? {} : { crt: pair.cert, key: pair.key }),
  });
  const file = (base: string) => join(files.path, base);
  try {
    const shown = pair === null ? [] : ["--x509certfile", file("crt"), "--x509keyfile", file("key")];
    const { code, bytes, errors } = await run(input, [
      ...["--priority", `NORMAL:-VERS-ALL:+VERS-TLS${version}`, "--x509cafile", file("ca"), ...shown],
      ...["--sni-hostname", name, "--verify-hostname", name, "--logfile", file("log")],
      ...["--keymatexport", label, "--keymatexportsize", "16", "--port", String(port), ...args, "127.0.0.1"],
    ]);
    const log = readFileSync(file("log"), "utf8") + errors;
    const alert = /Received alert \[(\d+)\]/.exec(log)?.[1];
    return {
      code,
      bytes,
      log,
      alert: alert === undefined ? null : Number(alert),
      resumed: log.includes("This is a resumed session"),
      exported: Array.from(log.matchAll(/Key material: ([0-9a-f]+)/g), ([, hex]) => hex!),
    };
  } finally {
    files.remove();
  }
}

function run(
  input: Buffer,
  args: readonly string[],
): Promise<{ code: number | null; bytes: Buffer; errors: string }> {
  return new Promise((resolve, reject) => {
    const child = spawn("gnutls-cli", args);
    const chunks: Buffer[] = [];
    let errors = "";
    child.stdout.on("data", (chunk: Buffer) => chunks.push(chunk));
    child.stderr.on("data", (chunk: Buffer) => {
      errors += chunk;
    });
    // It may be gone before it has read what it was to send.
    child.stdin.on("error", () => {});
    child.on("error", reject);
    child.on("close", (code) => resolve({ code, bytes: Buffer.concat(chunks), errors }));
    child.stdin.end(input);
  });
}
