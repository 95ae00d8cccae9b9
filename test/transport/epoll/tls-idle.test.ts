/** What an idle TLS connection keeps: not the whole chain that its client showed, which nobody asks for any more. */
import assert from "node:assert/strict";
import { test } from "node:test";
import type { EpollTlsContext } from "../../../lib/transport/epoll/tls-context.ts";
import { mallocInUse } from "../../gear/malloc.ts";
import { clientSpec, ends, engine, serverSpec, stand } from "./tls-gear.ts";

const CONNECTIONS = 50;
const LOOKS = 7;
// Bytes. The client shows two certificates, and each that is kept costs 5,000.
const BELOW_TWO_CERTIFICATES = 7_000;

test("of the chain that a client has shown, no more stays than one certificate", async (t) => {
  const tls = engine(t);
  const { cert, ...spec } = await clientSpec();
  const client = tls.context({ ...spec, cert: `${cert}${spec.ca}` });
  /** Bytes of one connection that stands, at the server alone. */
  const cost = (server: EpollTlsContext): number => {
    client.sessions.clear();
    const before = mallocInUse();
    for (let count = 0; count < CONNECTIONS; count++) {
      const both = ends(t, tls, server, client);
      stand(both);
      client.sessions.clear();
      both.client.release();
    }
    return (mallocInUse() - before) / CONNECTIONS;
  };
  const required = tls.context(await serverSpec());
  const none = tls.context(await serverSpec({ clientAuth: "none" }));
  // Whatever else is freed meanwhile counts, too: the middle of several.
  const middle = (server: EpollTlsContext): number => {
    const costs = Array.from({ length: LOOKS }, () => cost(server));
    return costs.sort((a, b) => a - b)[LOOKS >> 1]!;
  };
  const [shown, anonymous] = [middle(required), middle(none)];
  t.diagnostic(`${shown.toFixed(0)} bytes with a client's certificate, ${anonymous.toFixed(0)} without`);
  assert.ok(shown - anonymous < BELOW_TWO_CERTIFICATES, `${shown} and ${anonymous} bytes`);
});
