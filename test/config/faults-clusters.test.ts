/** Every key of clusters wrong in turn: line, column, path and what would be right. */
import { test } from "node:test";
import { assertFaults, type Wrong } from "./example.ts";

const WRONG: readonly Wrong[] = [
  [
    'dns: "api.internal:443"',
    'dns: "api.internal:443", health: { check: tls }',
    "51:57 clusters.names.health.check: must be tcp: the cluster has no tls to make a handshake with",
  ],
  [
    'dns: "api.internal:443"',
    'endpoints: ["unix:/x"], tls: {}',
    "51:44 clusters.names.tls: must have server_name or verify: these endpoints have no name to check",
  ],
  [
    'dns: "api.internal:443"',
    'endpoints: ["unix:xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"]',
    "51:27 clusters.names.endpoints[0]: must have at most 107 bytes in its whole path, not 108: the system takes no more",
  ],
  [
    "max_ttl: 5m",
    "max_ttl: 10ms",
    "43:54 clusters.db.discover.min_ttl: must not be longer than max_ttl (5m when left out)",
  ],
  [
    '"10.0.0.7:8080"',
    '"10.0.0.7"',
    '41:22 clusters.web.endpoints[0]: must be an address: 10.0.0.7:8080, [fd77::7]:8080, name:8080 or unix:/path; found "10.0.0.7"',
  ],
  [
    '"10.0.0.7:8080"',
    '":8080"',
    '41:22 clusters.web.endpoints[0]: must say whom to dial before ":8080"; found ":8080"',
  ],
  [
    '"10.0.0.7:8080"',
    '"10.0.0.8:8080"',
    '41:39 clusters.web.endpoints[1]: must be another endpoint: "10.0.0.8:8080" is taken by clusters.web.endpoints[0]',
  ],
  [
    '"10.0.0.7:8080"',
    "8080",
    '41:22 clusters.web.endpoints[0]: must be an address such as "10.0.0.7:8080" or { address, weight, priority }; found 8080',
  ],
  [
    "weight: 2",
    "weight: 65536",
    "41:75 clusters.web.endpoints[1].weight: must be a whole number from 0 to 65535; found 65536",
  ],
  [
    '{ address: "10.0.0.8:8080", weight',
    '{ adress: "10.0.0.8:8080", weight',
    '41:39 clusters.web.endpoints[1].address: is missing: it must be an address such as "10.0.0.7:8080"',
    "41:41 clusters.web.endpoints[1].adress: is an unknown key (did you mean address?)",
  ],
  [
    "balance: least",
    "endpoints: []\n    balance: least",
    "42:3 clusters.db: must have exactly one of endpoints, discover, dns, original_destination or announced_destination, not endpoints and discover",
  ],
  [
    'web: { endpoints: ["10.0.0.7:8080", { address: "10.0.0.8:8080", weight: 2, priority: 1 }] }',
    "web: {}",
    "41:3 clusters.web: must have exactly one of endpoints, discover, dns, original_destination or announced_destination, not none",
  ],
  [
    "srv: _db._tcp.example.test",
    'srv: "_db _tcp"',
    '43:22 clusters.db.discover.srv: must be a host name such as db.example.test; found "_db _tcp"',
  ],
  [
    "min_ttl: 1s",
    "min_ttl: 10m",
    "43:54 clusters.db.discover.min_ttl: must not be longer than max_ttl (5m when left out)",
  ],
  [
    "min_ttl: 1s",
    "min_ttl: 0s",
    '43:54 clusters.db.discover.min_ttl: must be longer than 0: it cannot be switched off; found "0s"',
  ],
  [
    "keep_last_good: true",
    'keep_last_good: "true"',
    '43:87 clusters.db.discover.keep_last_good: must be true or false; found "true"',
  ],
  [
    "keep_last_good: true",
    "max_removal: 2",
    "43:84 clusters.db.discover.max_removal: must be a number from 0 to 1; found 2",
  ],
  [
    "least_connections           #",
    "least_conns #",
    '44:14 clusters.db.balance: must be round_robin, random, least_connections or source_hash; found "least_conns"',
  ],
  [
    "retries: 2",
    "retries: -2",
    "45:25 clusters.db.connect.retries: must be a whole number from 0 to 10; found -2",
  ],
  [
    "timeout: 2s",
    "timeout: 2",
    "45:37 clusters.db.connect.timeout: must be a duration such as 500ms, 5s, 2m or 1h; found 2",
  ],
  [
    "interval: 5s",
    "intervall: 5s",
    "46:16 clusters.db.health.intervall: is an unknown key (did you mean interval?)",
  ],
  ["rise: 2", "rise: 0", "46:49 clusters.db.health.rise: must be a whole number from 1 to 1000; found 0"],
  ["rise: 2", "check: http", '46:50 clusters.db.health.check: must be tcp or tls; found "http"'],
  [
    "failures: 5",
    "failures: five",
    '47:26 clusters.db.eject.failures: must be a whole number from 1 to 1000; found "five"',
  ],
  [
    "for: 30s",
    "for: 0s",
    '47:34 clusters.db.eject.for: must be longer than 0: it cannot be switched off; found "0s"',
  ],
  [
    "max_percent: 50",
    "max_percent: 101",
    "47:52 clusters.db.eject.max_percent: must be a whole number from 0 to 100; found 101",
  ],
  [
    "tls:     { identity: edge",
    "tls:     { identity: nobody",
    '48:26 clusters.db.tls.identity: must name an identity: there is no "nobody" (identities has "edge")',
  ],
  [
    "server_name: db.example.test",
    'server_name: "*.example.test"',
    '48:45 clusters.db.tls.server_name: must be a host name or an IP address; found "*.example.test"',
  ],
  [
    "verify: [{ dns: db.example.test }]",
    "verify: db.example.test",
    '48:70 clusters.db.tls.verify: must be a list; found "db.example.test"',
  ],
  [
    "proxy_protocol: v2",
    "proxy_protocol: v3",
    '49:21 clusters.db.proxy_protocol: must be off, v1 or v2; found "v3"',
  ],
  ["source: proxy", "source: none", '50:13 clusters.db.source: must be proxy or client; found "none"'],
  [
    'dns: "api.internal:443"',
    'dns: "10.0.0.1:443"',
    '51:20 clusters.names.dns: must be NAME:PORT such as "api.internal:443"; an IP address belongs in endpoints; found "10.0.0.1:443"',
  ],
  [
    'dns: "api.internal:443"',
    "dns: api.internal",
    '51:20 clusters.names.dns: must be NAME:PORT such as "api.internal:443"; found "api.internal"',
  ],
  [
    "source: proxy",
    "slow_start: fast",
    '50:17 clusters.db.slow_start: must be a duration such as 500ms, 5s, 2m or 1h, or 0s for never; found "fast"',
  ],
  [
    "clusters:\n",
    'clusters:\n  web: { dns: "a.test:1" }\n',
    '42:3 clusters.web: is written twice: the first "web" is in line 41',
  ],
  [
    "source: proxy",
    "source: client",
    "50:13 clusters.db.source: is not available in this version: dialling from the client's address",
  ],
  [
    'dns: "api.internal:443"',
    "original_destination: { port: 15443 }",
    "51:37 clusters.names.original_destination: is not available in this version: dialling the original destination",
  ],
  [
    'dns: "api.internal:443"',
    'announced_destination: { allow: ["127.0.0.0/8:1-65535"] }',
    "51:38 clusters.names.announced_destination: is not available in this version: dialling the announced destination",
  ],
  [
    'dns: "api.internal:443"',
    "original_destination: { port: 0 }",
    "51:37 clusters.names.original_destination: is not available in this version: dialling the original destination",
    "51:45 clusters.names.original_destination.port: must be a whole number from 1 to 65535; found 0",
  ],
  [
    'dns: "api.internal:443"',
    "announced_destination: { allow: [] }",
    "51:38 clusters.names.announced_destination: is not available in this version: dialling the announced destination",
    "51:47 clusters.names.announced_destination.allow: must name at least one destination: it lets in none",
  ],
];

for (const wrong of WRONG) test(`${wrong[0].trim()} -> ${wrong[1].trim()}`, () => assertFaults(wrong));
