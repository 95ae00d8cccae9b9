/** A whole configuration for tests to break, and how they look at what came of it. */
import assert from "node:assert/strict";
import { type ParseOptions, parseConfig } from "../../lib/config/parse.ts";
import { ProxyError } from "../../lib/errors.ts";

/** The example of the manual, whole, but for the destinations that a proxy takes from its client. */
export const EXAMPLE = `transport: auto              # auto | epoll | net
workers: auto                # auto | N
log:      { level: info, access: true, format: auto }      # json | pretty | auto (pretty on a terminal)
admin:    { listen: "unix:/run/millrace/admin.sock" }      # or 127.0.0.1:9901; omitted = off
limits:   { connections: auto, per_source: 0, hello_bytes: 64KiB }
timeouts: { hello: 5s, handshake: 10s, connect: 5s, idle: 1h, half_close: 60s, lifetime: 0s, drain: 30s }
dns:      { servers: [127.0.0.1:53] }                      # default: resolv.conf

identities:
  edge: { cert: edge.crt, key: edge.key, ca: ca.crt, crl: ca.crl, watch: true }

listeners:
  - name: edge
    address: 0.0.0.0:443
    proxy_protocol: { mode: off, trusted: [], position: outer }   # off | accept | require; outer = before TLS, inner = inside the terminated TLS
    transparent: off                                       # off | redirect | tproxy
    limits:   { connections: 1000, per_source: 50 }        # optional, as are timeouts: {…}
    default: refuse                                        # refuse | a route without match
    routes:
      - name: db
        match: { sni: [db.example.test, "*.db.example.test"], alpn: [postgresql], from: [10.0.0.0/8], destination: ["10.0.0.0/8:5432", "[fd77::/64]:5432"] }
        tls: passthrough                                   # none | passthrough | terminate
        cluster: db
      - name: web
        match: { sni: [web.example.test] }
        tls: terminate
        identity: edge
        client_auth: required                              # none | optional | required
        allow:                                             # any of
          - { spiffe: "spiffe://example.test/ns/prod/*" }
          - { dns: "*.clients.example.test" }
          - { cn: alice }
          - { ou: ops }
          - { fingerprint: "sha256:abababababababababababababababababababababababababababababababab" }
          - any
        alpn: [h2, http/1.1]
        tls_min: "1.2"
        cluster: web

clusters:
  web: { endpoints: ["10.0.0.7:8080", { address: "10.0.0.8:8080", weight: 2, priority: 1 }] }
  db:
    discover: { srv: _db._tcp.example.test, min_ttl: 1s, max_ttl: 5m, keep_last_good: true }
    balance: least_connections           # round_robin | random | least_connections | source_hash; SRV weight and priority always honoured
    connect: { retries: 2, timeout: 2s }
    health:  { interval: 5s, timeout: 1s, rise: 2, fall: 3 }           # active TCP/TLS check
    eject:   { failures: 5, for: 30s, max_percent: 50 }                # passive
    tls:     { identity: edge, server_name: db.example.test, verify: [{ dns: db.example.test }] }
    proxy_protocol: v2                   # off | v1 | v2
    source: proxy                        # proxy | client (transparent)
  names:    { dns: "api.internal:443" }                   # A/AAAA over time
`;

/** What stands in the example, what to put there instead, and the faults that this must give. */
export type Wrong = readonly [was: string, is: string, ...faults: string[]];

/** `line:column path: message` of every fault, in order; empty where the text is accepted. */
export function faultsOf(text: string, options: ParseOptions = {}): string[] {
  try {
    parseConfig(text, { file: "edge.yaml", directory: "/etc", env: {}, ...options });
    return [];
  } catch (error) {
    assert.ok(error instanceof ProxyError);
    assert.equal(error.code, "CONFIG");
    return error.faults.map((fault) => `${fault.line}:${fault.column} ${fault.path}: ${fault.message}`);
  }
}

/** Makes one thing wrong in the example and compares all faults. */
export function assertFaults([was, is, ...faults]: Wrong): void {
  assert.equal(EXAMPLE.split(was).length >= 2, true, `the example has no ${was}`);
  assert.deepEqual(faultsOf(EXAMPLE.replace(was, () => is)), faults);
}
