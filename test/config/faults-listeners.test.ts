/** Every key of listeners and routes wrong in turn: line, column, path and what would be right. */
import { test } from "node:test";
import { assertFaults, type Wrong } from "./example.ts";

const WRONG: readonly Wrong[] = [
  [
    "cert: edge.crt, key: edge.key, ca: ca.crt",
    "ca: ca.crt",
    '27:19 listeners[0].routes[1].identity: must have cert and key to terminate TLS: "edge" has only ca',
  ],
  [
    "  - name: edge\n    address: 0.0.0.0:443",
    "  - address: 0.0.0.0:443",
    "13:5 listeners[0].name: is missing: it must be a name",
  ],
  ["- name: edge", "- name: 7", "13:11 listeners[0].name: must be a name; found 7: put it in quotes"],
  [
    "- name: edge",
    '- name: "e dge"',
    '13:11 listeners[0].name: must be 1 to 128 letters, digits and _ . : / - and begin with a letter, a digit or _; found "e dge"',
  ],
  [
    "address: 0.0.0.0:443",
    "address: 0.0.0.0",
    '14:14 listeners[0].address: must be an address: 127.0.0.1:443, [::1]:443, :443, unix:/path or systemd:NAME; found "0.0.0.0"',
  ],
  [
    "address: 0.0.0.0:443",
    "address: 0.0.0.0:70000",
    '14:14 listeners[0].address: must be an address: 127.0.0.1:443, [::1]:443, :443, unix:/path or systemd:NAME; found "0.0.0.0:70000"',
  ],
  [
    "address: 0.0.0.0:443",
    "address: localhost:443",
    '14:14 listeners[0].address: must be an IP address, names are for targets only: write one such as 127.0.0.1:443 or [::1]:443; found "localhost:443"',
  ],
  [
    "address: 0.0.0.0:443",
    "address: unix:/xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx",
    "14:14 listeners[0].address: must have at most 107 bytes in its whole path, not 108: the system takes no more",
  ],
  [
    "mode: off",
    "mode: on",
    '15:29 listeners[0].proxy_protocol.mode: must be off, accept or require; found "on"',
  ],
  [
    "mode: off",
    "mode: require",
    "15:21 listeners[0].proxy_protocol: must say in trusted whose headers are believed, such as trusted: [10.0.0.0/8]; mode require believes nobody without it",
  ],
  [
    "trusted: []",
    "trusted: [10.0.0.0/33]",
    '15:44 listeners[0].proxy_protocol.trusted[0]: must have a prefix length from 0 to 32 after the slash; found "10.0.0.0/33"',
  ],
  [
    "position: outer",
    "position: middle",
    '15:57 listeners[0].proxy_protocol.position: must be outer or inner; found "middle"',
  ],
  [
    "transparent: off",
    "transparent: true",
    "16:18 listeners[0].transparent: must be off, redirect or tproxy; found true",
  ],
  [
    "connections: 1000",
    "connections: 0",
    "17:30 listeners[0].limits.connections: must be a whole number from 1 to 10000000; found 0",
  ],
  [
    "per_source: 50 }",
    "per_sauce: 50 }",
    "17:36 listeners[0].limits.per_sauce: is an unknown key (did you mean per_source?)",
  ],
  [
    "default: refuse",
    "default: deny",
    '18:14 listeners[0].default: must be refuse or a route without match; found "deny"',
  ],
  [
    "default: refuse",
    "default: { match: { sni: [x.test] }, cluster: web }",
    "18:23 listeners[0].default.match: must be left out: a default route takes what no other route takes; found a mapping",
  ],
  [
    "default: refuse",
    "default: { cluster: wbe }",
    '18:25 listeners[0].default.cluster: must name a cluster: there is no "wbe" (did you mean web?)',
  ],
  [
    "- name: web",
    "- name: db",
    '24:15 listeners[0].routes[1].name: must be another name: "db" is taken by listeners[0].routes[0].name',
  ],
  [
    'sni: [db.example.test, "*.db.example.test"]',
    'sni: "*.db.example.test"',
    '21:23 listeners[0].routes[0].match.sni: must be a list; found "*.db.example.test"',
  ],
  [
    '"*.db.example.test"',
    '"*"',
    '21:41 listeners[0].routes[0].match.sni[1]: must name a domain: leave sni out to match every name, "*" alone is no pattern; found "*"',
  ],
  [
    '"*.db.example.test"',
    '"db*.example.test"',
    '21:41 listeners[0].routes[0].match.sni[1]: may have a star only as the whole first label: "*.example.test" or "**.example.test"; found "db*.example.test"',
  ],
  [
    '"*.db.example.test"',
    "*.db.example.test",
    '21:41 listeners[0].routes[0].match.sni[1]: has a star that YAML takes for an alias: write "*.db.example.test" in quotes',
  ],
  [
    "alpn: [postgresql]",
    'alpn: [""]',
    '21:70 listeners[0].routes[0].match.alpn[0]: must have 1 to 255 bytes; found ""',
  ],
  [
    "from: [10.0.0.0/8]",
    "from: [10.0.0.0.0/8]",
    '21:90 listeners[0].routes[0].match.from[0]: must be an IP network such as 10.0.0.0/8 or fd77::/64; found "10.0.0.0.0/8"',
  ],
  [
    '"10.0.0.0/8:5432"',
    '"10.0.0.0/8"',
    '21:117 listeners[0].routes[0].match.destination[0]: must be NETWORK:PORT such as "10.0.0.0/8:5432", "10.0.0.0/8:1-65535" or "[fd77::/64]:5432"; found "10.0.0.0/8"',
  ],
  [
    '"10.0.0.0/8:5432"',
    '"10.0.0.0/8:9-1"',
    '21:117 listeners[0].routes[0].match.destination[0]: must have the lower port first: 1-9; found "10.0.0.0/8:9-1"',
  ],
  [
    "from: [10.0.0.0/8]",
    "form: [10.0.0.0/8]",
    "21:83 listeners[0].routes[0].match.form: is an unknown key (did you mean from?)",
  ],
  [
    "tls: passthrough",
    "tls: pass",
    '22:14 listeners[0].routes[0].tls: must be none, passthrough or terminate; found "pass"',
  ],
  [
    "        tls: passthrough                                   # none | passthrough | terminate\n",
    "",
    "20:9 listeners[0].routes[0].tls: is missing: it must be passthrough or terminate, because the route has match.sni",
  ],
  [
    "        match: { sni: [web.example.test] }\n        tls: terminate\n",
    "        match: { alpn: [h2] }\n",
    "24:9 listeners[0].routes[1].tls: is missing: it must be passthrough or terminate, because the route has match.alpn",
  ],
  [
    "        match: { sni: [web.example.test] }\n        tls: terminate\n",
    "",
    "24:9 listeners[0].routes[1].tls: is missing: it must be terminate, because the route has an identity",
  ],
  [
    "clusters:\n",
    '  - { name: two, address: ":444" }\nclusters:\n',
    "40:5 listeners[1]: must have routes, or a default route: it would refuse everybody",
  ],
  [
    "clusters:\n",
    '  - { name: edge, address: "0.0.0.0:443", default: { cluster: web } }\nclusters:\n',
    '40:13 listeners[1].name: must be another name: "edge" is taken by listeners[0].name',
    '40:28 listeners[1].address: must be another address: "0.0.0.0:443" is taken by listeners[0].address',
  ],
  [
    "clusters:\n",
    '  - { name: two, address: "[::1]:1", default: { cluster: web } }\n  - { name: three, address: "[0:0::1]:1", default: { cluster: web } }\nclusters:\n',
    '41:29 listeners[2].address: must be another address: "[::1]:1" is taken by listeners[1].address',
  ],
  [
    "clusters:\n",
    '  - { name: two, address: ":444", routes: {} }\nclusters:\n',
    "40:43 listeners[1].routes: must be a list; found a mapping",
  ],
  [
    "clusters:\n",
    '  - { name: two, address: ":444", routes: [{ cluster: web, name: two/1 }, { cluster: web, match: { from: [::/0] } }] }\nclusters:\n',
    '40:75 listeners[1].routes[1]: must be another name: "two/1" is taken by listeners[1].routes[0].name',
  ],
  ["clusters:\n", "  -\nclusters:\n", "40:4 listeners[1]: is empty: it must be a mapping"],
  [
    "default: refuse",
    "default: { tls: terminate, cluster: web }",
    "18:14 listeners[0].default.identity: is missing: a route that terminates TLS needs an identity with cert and key",
  ],
  [
    "tls: passthrough",
    "tls: none",
    "22:14 listeners[0].routes[0].tls: must be passthrough or terminate: plain bytes carry no sni to match",
  ],
  [
    "tls: passthrough",
    "tls: passthrough\n        identity: edge",
    "23:9 listeners[0].routes[0].identity: has no effect with tls: passthrough, only with tls: terminate; remove one of them",
  ],
  [
    "tls: passthrough",
    'tls: passthrough\n        client_auth: required\n        allow: [any]\n        alpn: [h2]\n        tls_min: "1.3"',
    "23:9 listeners[0].routes[0].client_auth: has no effect with tls: passthrough, only with tls: terminate; remove one of them",
    "24:9 listeners[0].routes[0].allow: has no effect with tls: passthrough, only with tls: terminate; remove one of them",
    "25:9 listeners[0].routes[0].alpn: has no effect with tls: passthrough, only with tls: terminate; remove one of them",
    "26:9 listeners[0].routes[0].tls_min: has no effect with tls: passthrough, only with tls: terminate; remove one of them",
  ],
  [
    "cluster: db\n",
    "cluster: bd\n",
    '23:18 listeners[0].routes[0].cluster: must name a cluster: there is no "bd" (did you mean db?)',
  ],
  [
    "cluster: db\n",
    "cluster: 5\n",
    "23:18 listeners[0].routes[0].cluster: must be the name of a cluster; found 5: put it in quotes",
  ],
  [
    "        cluster: db\n",
    "",
    "20:9 listeners[0].routes[0].cluster: is missing: it must be the name of a cluster",
  ],
  [
    "        identity: edge\n",
    "",
    "24:9 listeners[0].routes[1].identity: is missing: a route that terminates TLS needs an identity with cert and key",
  ],
  [
    "        identity: edge\n",
    "        identity: egde\n",
    '27:19 listeners[0].routes[1].identity: must name an identity: there is no "egde" (did you mean edge?)',
  ],
  [
    "client_auth: required",
    "client_auth: require",
    '28:22 listeners[0].routes[1].client_auth: must be none, optional or required; found "require" (did you mean required?)',
  ],
  [
    "        client_auth: required                              # none | optional | required\n",
    "",
    "29:11 listeners[0].routes[1].allow: has no effect without client certificates: add client_auth: required",
  ],
  [
    "{ cn: alice }",
    "{ common_name: alice }",
    "32:15 listeners[0].routes[1].allow[2].common_name: is an unknown key; known are spiffe, dns, cn, ou, fingerprint",
  ],
  [
    "{ cn: alice }",
    "{ cn: alice, ou: ops }",
    "32:13 listeners[0].routes[1].allow[2]: must have exactly one of spiffe, dns, cn, ou, fingerprint: write several rules for several; found a mapping",
  ],
  [
    "{ cn: alice }",
    "{}",
    "32:13 listeners[0].routes[1].allow[2]: must have exactly one of spiffe, dns, cn, ou, fingerprint: write several rules for several; found a mapping",
  ],
  [
    "- any",
    "- all",
    '35:13 listeners[0].routes[1].allow[5]: must be "any" or one of { spiffe }, { dns }, { cn }, { ou }, { fingerprint }; found "all"',
  ],
  [
    "spiffe://example.test/ns/prod/*",
    "spiffe://example.test/ns/prod*",
    '30:23 listeners[0].routes[1].allow[0].spiffe: may have "*" only as a whole path segment, and "**" only as the last one; found "spiffe://example.test/ns/prod*"',
  ],
  [
    '"*.clients.example.test"',
    '"*"',
    '31:20 listeners[0].routes[1].allow[1].dns: must be a DNS name such as a.example.test or "*.example.test"; found "*"',
  ],
  [
    "cn: alice",
    "cn: 5",
    "32:19 listeners[0].routes[1].allow[2].cn: must be a string; found 5: put it in quotes",
  ],
  [
    "cn: alice",
    'cn: "a*"',
    '32:19 listeners[0].routes[1].allow[2].cn: must be written out: it is compared exactly and has no wildcards; found "a*"',
  ],
  [
    "ababab",
    "xyab",
    '34:28 listeners[0].routes[1].allow[4].fingerprint: must be "sha256:" and 64 hex digits: the SHA-256 of the certificate in DER; found "sha256:xyabababababababababababababababababababababababab..."',
  ],
  ["alpn: [h2, http/1.1]", "alpn: h2", '36:15 listeners[0].routes[1].alpn: must be a list; found "h2"'],
  [
    'tls_min: "1.2"',
    'tls_min: "1.1"',
    '37:18 listeners[0].routes[1].tls_min: must be "1.2" or "1.3"; found "1.1"',
  ],
  [
    "match: { sni: [web.example.test] }",
    'match: { from: [10.9.9.9/8], alpn: [postgresql], sni: ["*.DB.example.test", db.example.test.], destination: ["[fd77:0::/64]:5432", "10.0.0.0/8:5432"] }',
    "24:9 listeners[0].routes[1]: can never be reached: listeners[0].routes[0] has the same match",
  ],
  [
    'tls_min: "1.2"',
    'tls_max: "1.2"',
    "37:9 listeners[0].routes[1].tls_max: is an unknown key (did you mean tls_min?)",
  ],
  [
    "transparent: off",
    "transparent: tproxy",
    "16:18 listeners[0].transparent: is not available in this version: transparent listeners",
  ],
  [
    "address: 0.0.0.0:443",
    "address: systemd:edge",
    "14:14 listeners[0].address: is not available in this version: listening sockets from systemd",
  ],
];

for (const wrong of WRONG) test(`${wrong[0].trim()} -> ${wrong[1].trim()}`, () => assertFaults(wrong));
