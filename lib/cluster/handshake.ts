/**
 * The TLS side of an active check: the same context, name and authorisation that a connection of the cluster uses, through
 * `node:tls`, because checks run on the control thread, which has no transport.
 */
import { isIP } from "node:net";
import { type ConnectionOptions, connect } from "node:tls";
import { pemTexts } from "../tls/pem.ts";
import { shownLeaf } from "../tls/shown.ts";
import type { Peer, TlsContextSpec } from "../transport/transport.ts";
import type { Endpoint } from "./endpoint.ts";
import type { ConnectTls } from "./probe.ts";

/**
 * `spec` is the cluster's client context; `serverName` its configured name (null: the endpoint's own); `peerOf` reads a leaf
 * certificate in DER. A fresh context each time: checks are rare and material may change.
 */
export function connectTlsWith(
  spec: TlsContextSpec,
  serverName: string | null,
  peerOf: (der: Uint8Array) => Peer,
): ConnectTls {
  return (socket, endpoint) =>
    new Promise((resolve, reject) => {
      const name = serverName ?? nameOf(endpoint);
      const options: ConnectionOptions = {
        socket,
        minVersion: spec.minVersion === "1.3" ? "TLSv1.3" : "TLSv1.2",
        // The spec's authorise is the judge of names, as for connections.
        checkServerIdentity: () => undefined,
      };
      if (spec.cert !== null) options.cert = spec.cert;
      if (spec.key !== null) options.key = spec.key;
      if (spec.ca !== null) options.ca = spec.ca;
      // Node reads one list from each text and would ignore the others.
      if (spec.crl !== null) options.crl = pemTexts(spec.crl, "X509 CRL");
      if (spec.alpn.length > 0) options.ALPNProtocols = [...spec.alpn];
      if (name !== null && isIP(name) === 0) options.servername = name; // RFC 6066: no IP literals
      const stream = connect(options);
      stream.on("error", reject); // stays: an error after the first must not go unheard
      stream.once("close", () => reject(new Error("closed during the handshake")));
      stream.once("secureConnect", () => {
        const der = shownLeaf(stream);
        const denied =
          der === null ? new Error("no certificate was presented") : spec.authorise(peerOf(der), name);
        if (denied === null) resolve(stream);
        else {
          stream.destroy();
          reject(denied);
        }
      });
    });
}

function nameOf(endpoint: Endpoint): string | null {
  if (endpoint.name !== null) return endpoint.name;
  return endpoint.address.kind === "ip" ? endpoint.address.host : null;
}
