/**
 * The plain Node baseline, run as a program: relay-node.js SHAPE LISTEN TARGET log|quiet TLS-VERSION
 * CERT KEY CLIENT-CERT CLIENT-KEY CA NAME, with the certificate shown to clients, then the one shown to the service.
 */
import { readFileSync } from "node:fs";
import { connect, createServer, type Socket } from "node:net";
import { connect as connectTls, createServer as createTlsServer, type SecureVersion } from "node:tls";
import { type Shape, split, TLS12_CIPHERS, TLS13_CIPHER, tlsIn, tlsOut } from "./contender.ts";

const [shape, listen, target, log, version, cert, key, clientCert, clientKey, ca, name] = process.argv.slice(
  2,
) as [Shape, ...string[]];
const identity = (certificate: string, of: string) => ({
  cert: readFileSync(certificate),
  key: readFileSync(of),
  ca: readFileSync(ca!),
});
const terms = {
  minVersion: version as SecureVersion,
  maxVersion: version as SecureVersion,
  ciphers: `${TLS13_CIPHER}:${TLS12_CIPHERS}`,
};
const clientTerms = tlsOut(shape)
  ? { ...identity(clientCert!, clientKey!), ...terms, servername: name! }
  : null;
const [host, port] = split(target!);
const to = { host, port: Number(port) };

function relay(downstream: Socket): void {
  const begun = Date.now();
  const peer = `${downstream.remoteAddress}:${downstream.remotePort}`;
  downstream.setNoDelay(true);
  const upstream = clientTerms
    ? connectTls({ ...to, ...clientTerms })
    : connect({ ...to, noDelay: true, autoSelectFamily: false });
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
const service = tlsIn(shape)
  ? createTlsServer(
      {
        ...identity(cert!, key!),
        ...terms,
        ecdhCurve: "P-256:X25519",
        requestCert: true,
        rejectUnauthorized: true,
      },
      relay,
    )
  : createServer(options, relay);
const [ip, own] = split(listen!);
service.listen({ port: Number(own), host: ip, backlog: 4096 });
