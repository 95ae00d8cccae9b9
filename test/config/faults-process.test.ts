/** Every key of the process wrong in turn: line, column, path and what would be right. */
// biome-ignore-all lint/suspicious/noTemplateCurlyInString: variables of a configuration look so
import { test } from "node:test";
import { assertFaults, type Wrong } from "./example.ts";

const WRONG: readonly Wrong[] = [
  [
    "transport: auto",
    "transport: epol",
    '1:12 transport: must be auto, epoll or net; found "epol" (did you mean epoll?)',
  ],
  [
    "workers: auto",
    "workers: atuo",
    '2:10 workers: must be auto or a whole number from 1 to 120; found "atuo"',
  ],
  ["workers: auto", "workers: 121", "2:10 workers: must be a whole number from 1 to 120; found 121"],
  ["workers: auto", "workers: 0", "2:10 workers: must be a whole number from 1 to 120; found 0"],
  ["workers: auto", "workers: 1.5", "2:10 workers: must be auto or a whole number from 1 to 120; found 1.5"],
  [
    "level: info",
    "level: verbose",
    '3:20 log.level: must be trace, debug, info, warn, error, fatal or silent; found "verbose"',
  ],
  ["access: true", "access: yes", '3:34 log.access: must be true or false; found "yes"'],
  ["format: auto", "fromat: auto", "3:40 log.fromat: is an unknown key (did you mean format?)"],
  [
    'listen: "unix:/run/millrace/admin.sock"',
    "listen: localhost",
    '4:21 admin.listen: must be an address: unix:/run/millrace/admin.sock or 127.0.0.1:9901; found "localhost"',
  ],
  [
    'listen: "unix:/run/millrace/admin.sock"',
    "",
    '4:11 admin.listen: is missing: it must be an address such as "unix:/run/millrace/admin.sock"',
  ],
  [
    "connections: auto",
    "connections: many",
    '5:26 limits.connections: must be auto or a whole number from 1 to 10000000; found "many"',
  ],
  [
    "per_source: 0",
    "per_source: -1",
    "5:44 limits.per_source: must be a whole number from 0 to 10000000; found -1",
  ],
  [
    "hello_bytes: 64KiB",
    "hello_bytes: 64KB",
    '5:60 limits.hello_bytes: must be a size such as 512B, 64KiB or 1MiB; found "64KB"',
  ],
  [
    "hello_bytes: 64KiB",
    "hello_bytes: 2MiB",
    '5:60 limits.hello_bytes: must be from 64B to 1MiB; found "2MiB"',
  ],
  ["hello: 5s", "hello: 5", "6:20 timeouts.hello: must be a duration such as 500ms, 5s, 2m or 1h; found 5"],
  ["hello: 5s", 'hello: "5"', '6:20 timeouts.hello: must have a unit: 5ms, 5s, 5m or 5h; found "5"'],
  [
    "hello: 5s",
    "hello: 0s",
    '6:20 timeouts.hello: must be longer than 0: it cannot be switched off; found "0s"',
  ],
  [
    "handshake: 10s",
    "handshake: 0ms",
    '6:35 timeouts.handshake: must be longer than 0: it cannot be switched off; found "0ms"',
  ],
  [
    "connect: 5s",
    "connect: 5sec",
    '6:49 timeouts.connect: must be a duration such as 500ms, 5s, 2m or 1h; found "5sec"',
  ],
  [
    "idle: 1h",
    "idle: 1d",
    '6:59 timeouts.idle: must be a duration such as 500ms, 5s, 2m or 1h, or 0s for never; found "1d"',
  ],
  ["idle: 1h", "idle: 1000h", '6:59 timeouts.idle: must be at most 596h; found "1000h"'],
  [
    "half_close: 60s",
    "halfClose: 60s",
    "6:63 timeouts.halfClose: is an unknown key (did you mean half_close?)",
  ],
  [
    "lifetime: 0s",
    "lifetime: []",
    "6:90 timeouts.lifetime: must be a duration such as 500ms, 5s, 2m or 1h, or 0s; found an empty list",
  ],
  [
    "drain: 30s",
    "drain: true",
    "6:101 timeouts.drain: must be a duration such as 500ms, 5s, 2m or 1h, or 0s; found true",
  ],
  [
    "servers: [127.0.0.1:53]",
    "servers: [dns.example.test:53]",
    '7:23 dns.servers[0]: must be the address of a name server such as "127.0.0.1:53"; found "dns.example.test:53"',
  ],
  [
    "servers: [127.0.0.1:53]",
    "servers: []",
    "7:22 dns.servers: must name a server: leave it out to use resolv.conf; found an empty list",
  ],
  [
    "servers: [127.0.0.1:53]",
    "attempts: 0",
    "7:23 dns.attempts: must be a whole number from 1 to 5; found 0",
  ],
  [
    "cert: edge.crt, key: edge.key, ca: ca.crt",
    "cert: edge.crt, ca: ca.crt",
    "10:9 identities.edge: must have a key beside its cert",
  ],
  [
    "cert: edge.crt, key: edge.key, ca: ca.crt",
    "cert: edge.crt, key: edge.key",
    "10:9 identities.edge: must have a ca beside its crl",
    '28:22 listeners[0].routes[1].client_auth: needs a ca in identity "edge" to check client certificates with',
  ],
  [
    "{ cert: edge.crt, key: edge.key, ca: ca.crt, crl: ca.crl, watch: true }",
    "{}",
    "10:9 identities.edge: must have cert and key, or ca, or all three",
    '28:22 listeners[0].routes[1].client_auth: needs a ca in identity "edge" to check client certificates with',
  ],
  ["cert: edge.crt", "cert: [edge.crt]", "10:17 identities.edge.cert: must be a file name; found a list"],
  ["watch: true", "watch: 1", "10:74 identities.edge.watch: must be true or false; found 1"],
  [
    "  edge: { cert",
    '  "ed ge": { cert',
    '10:3 identities["ed ge"]: has a name that cannot be used: it must be 1 to 128 letters, digits and _ . : / - and begin with a letter, a digit or _',
    '27:19 listeners[0].routes[1].identity: must name an identity: there is no "edge" (did you mean ed ge?)',
    '48:26 clusters.db.tls.identity: must name an identity: there is no "edge" (did you mean ed ge?)',
  ],
  [
    "listeners:\n",
    "listenres:\n",
    "1:1 listeners: is missing: it must be a list",
    "12:1 listenres: is an unknown key (did you mean listeners?)",
  ],
  [
    "address: 0.0.0.0:443",
    "address: unix:/run/millrace/../millrace/admin.sock",
    '4:21 admin.listen: must be another address: "unix:/run/millrace/admin.sock" is taken by listeners[0].address',
  ],
  ["log:  ", "logs:  ", "3:1 logs: is an unknown key (did you mean log?)"],
  [
    "cert: edge.crt",
    'cert: "${NOWHERE}/edge.crt"',
    "10:17 identities.edge.cert: needs the environment variable NOWHERE: set it or write ${NOWHERE:-default}",
  ],
  [
    "cert: edge.crt",
    'cert: "${no-where}/edge.crt"',
    "10:17 identities.edge.cert: has a ${ that is no variable: write ${NAME} or ${NAME:-default}, or $${ for a plain ${",
  ],
  [
    "cert: edge.crt",
    "cert: ${X}",
    "10:18 : is no valid YAML: unexpected flow-map-start at node end; a variable inside { } or [ ] needs quotes",
  ],
  [
    "address: 0.0.0.0:443",
    "address: [::1]:443",
    "14:19 : is no valid YAML: unexpected scalar at node end; an address in brackets needs quotes",
  ],
  [
    "  web: {",
    "\tweb: {",
    "41:1 : is no valid YAML: tabs are not allowed as indentation",
    "42:1 : is no valid YAML: all mapping items must start at the same column",
    "51:1 : is no valid YAML: all mapping items must start at the same column",
  ],
];

for (const wrong of WRONG) test(`${wrong[0].trim()} -> ${wrong[1].trim()}`, () => assertFaults(wrong));
