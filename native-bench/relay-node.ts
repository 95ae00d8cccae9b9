/**
 * The plain Node baseline, run as a program:
 * relay-node.js SHAPE LISTEN TARGET log|quiet CERT KEY CA NAME, with SHAPE plain, terminate or originate.
 */
import { readFileSync } from "node:fs";
import { connect, createServer, type Socket } from "node:net";
import { connect as connectTls, createServer as createTlsServer } from "node:tls";

const [shape, listen, target, log, cert, key, ca, name] = process.argv.slice(2) as string[];
const identity = () => ({ cert: readFileSync(cert!), key: readFileSync(key!), ca: readFileSync(ca!) });
const terms = { minVersion: "TLSv1.3", ciphers: "TLS_AES_128_GCM_SHA256" } as const;
const clientTerms = shape === "originate" ? { ...identity(), ...terms, servername: name! } : null;
const port = Number(target);

function relay(downstream: Socket): void {
  const begun = Date.now();
  const peer = `${downstream.remoteAddress}:${downstream.remotePort}`;
  downstream.setNoDelay(true);
  const upstream = clientTerms
    ? connectTls({ port, host: "127.0.0.1", ...clientTerms })
    : connect({ port, host: "127.0.0.1", noDelay: true, autoSelectFamily: false });
  downstream.pipe(upstream).pipe(downstream);
  downstream.on("error", () => upstream.destroy());
  upstream.on("error", () => downstream.destroy());
  downstream.on("close", () => {
    upstream.destroy();
    if (log !== "log") return;
    const line = {
      source: peer,
      bytes_up: downstream.bytesRead,
      bytes_down: downstream.bytesWritten,
      duration_ms: Date.now() - begun,
    };
    process.stdout.write(`${JSON.stringify(line)}\n`);
  });
}

const options = { allowHalfOpen: true, noDelay: true };
const server =
  shape === "terminate"
    ? createTlsServer(
        { ...identity(), ...terms, ecdhCurve: "prime256v1", requestCert: true, rejectUnauthorized: true },
        relay,
      )
    : createServer(options, relay);
server.listen({ port: Number(listen), host: "127.0.0.1", backlog: 4096 });
