/**
 * What a user may write under `identities:` and `listeners:`. Form only: whether names exist and settings fit together
 * is checks.ts and coherence.ts. Defaults stand here when they do not depend on anything else.
 */
import { z } from "zod";
import * as is from "./scalars.ts";

export const identitySchema = is
  .mapping({
    cert: is.filePath.optional().meta({ description: "Certificate chain in PEM, the leaf first." }),
    key: is.filePath.optional().meta({ description: "Private key of the certificate, in PEM." }),
    ca: is.filePath.optional().meta({ description: "Trust bundle in PEM: who may vouch for the peer." }),
    crl: is.filePath.optional().meta({ description: "Revocation list in PEM, of the CAs in ca." }),
    watch: is.boolean.default(true).meta({ description: "Read the files again when they change." }),
  })
  .meta({ description: "Certificate, key, trust bundle and revocation list, reloaded as one." });

/** One way to name a peer: the word `any`, or exactly one key. */
export const peerRuleSchema = z
  .union(
    [
      z.literal("any"),
      is
        .mapping({
          spiffe: is.spiffe
            .optional()
            .meta({ description: "SPIFFE ID; * is one path segment, ** at the end the rest." }),
          dns: is.peerName
            .optional()
            .meta({ description: "DNS name in the certificate; *. stands for one label." }),
          cn: is.subjectPart.optional().meta({ description: "Common name of the subject." }),
          ou: is.subjectPart.optional().meta({ description: "Organisational unit of the subject." }),
          fingerprint: is.fingerprint
            .optional()
            .meta({ description: "sha256: and the digest of the certificate." }),
        })
        .refine((rule) => Object.keys(rule).length === 1, {
          error: () =>
            "must have exactly one of spiffe, dns, cn, ou, fingerprint: write several rules for several",
        })
        .meta({ minProperties: 1, maxProperties: 1 }),
    ],
    { error: () => 'must be "any" or one of { spiffe }, { dns }, { cn }, { ou }, { fingerprint }' },
  )
  .meta({
    description: "A peer that is let in. any: everybody whose certificate the trust bundle vouches for.",
  });

export const matchSchema = is
  .mapping({
    sni: is
      .list(is.sniPattern)
      .optional()
      .meta({ description: "Server names: exact, *.x (one label) or **.x (any)." }),
    alpn: is
      .list(is.alpnName)
      .optional()
      .meta({ description: "Application protocols, any of which the client offers." }),
    from: is.list(is.cidr).optional().meta({ description: "Networks of the client." }),
    destination: is
      .list(is.destination)
      .optional()
      .meta({ description: "Where the client meant to go: NETWORK:PORT or NETWORK:FROM-TO." }),
  })
  .meta({ description: "All that is given must hold; an empty match takes everything." });

const routeKeys = {
  name: is.entryName
    .optional()
    .meta({ description: "Unique in its listener; LISTENER/INDEX when left out." }),
  tls: is.choice(["none", "passthrough", "terminate"]).optional().meta({
    description: "none: plain bytes. passthrough: TLS goes on untouched. terminate: TLS ends here.",
  }),
  identity: is
    .reference("an identity")
    .optional()
    .meta({ description: "The identity that a terminating route shows." }),
  client_auth: is
    .choice(["none", "optional", "required"])
    .default("none")
    .meta({ description: "Whether clients are asked for a certificate." }),
  allow: is.list(peerRuleSchema).optional().meta({ description: "Clients that are let in, any of." }),
  alpn: is
    .list(is.alpnName)
    .optional()
    .meta({ description: "Protocols offered to the client, the best first." }),
  tls_min: is.tlsVersion.optional().meta({ description: "Oldest TLS version taken.", default: "1.2" }),
  cluster: is.reference("a cluster").meta({ description: "Where the bytes go." }),
};

export const routeSchema = is.mapping({ ...routeKeys, match: matchSchema.optional() });
export const defaultRouteSchema = is.mapping({
  ...routeKeys,
  match: z
    .never({ error: () => "must be left out: a default route takes what no other route takes" })
    .optional(),
});

const timeoutDescriptions = {
  hello: "Until the ClientHello or the PROXY header is complete.",
  handshake: "Until a TLS handshake is done.",
  connect: "Until an endpoint has answered.",
  idle: "Without a byte either way; 0s: never.",
  half_close: "After one side has ended, without progress of the other; 0s: never.",
  lifetime: "Of a whole connection; 0s: without end.",
  drain: "For live connections after a stop; 0s: without end.",
};

export const timeoutsSchema = is.mapping({
  hello: is.duration.prefault("5s").meta({ description: timeoutDescriptions.hello }),
  handshake: is.duration.prefault("10s").meta({ description: timeoutDescriptions.handshake }),
  connect: is.duration.prefault("5s").meta({ description: timeoutDescriptions.connect }),
  idle: is.durationOrOff.prefault("1h").meta({ description: timeoutDescriptions.idle }),
  half_close: is.durationOrOff.prefault("60s").meta({ description: timeoutDescriptions.half_close }),
  lifetime: is.durationOrOff.prefault("0s").meta({ description: timeoutDescriptions.lifetime }),
  drain: is.durationOrOff.prefault("30s").meta({ description: timeoutDescriptions.drain }),
});

const listenerTimeoutsSchema = is.mapping({
  hello: is.duration.optional().meta({ description: timeoutDescriptions.hello }),
  handshake: is.duration.optional().meta({ description: timeoutDescriptions.handshake }),
  connect: is.duration.optional().meta({ description: timeoutDescriptions.connect }),
  idle: is.durationOrOff.optional().meta({ description: timeoutDescriptions.idle }),
  half_close: is.durationOrOff.optional().meta({ description: timeoutDescriptions.half_close }),
  lifetime: is.durationOrOff.optional().meta({ description: timeoutDescriptions.lifetime }),
  drain: is.durationOrOff.optional().meta({ description: timeoutDescriptions.drain }),
});

/** More connections than this no process can hold: Linux caps descriptors at 2^20 by default (fs.nr_open). */
export const MAX_CONNECTIONS = 10_000_000;

const listenerKeys = {
  name: is.entryName.meta({ description: "Unique; in logs and metrics." }),
  address: is.listenAddress.meta({
    description: "127.0.0.1:443, [::1]:443, :443 (all), unix:/path or systemd:NAME.",
  }),
  proxy_protocol: is
    .mapping({
      mode: is.choice(["off", "accept", "require"]).default("off"),
      trusted: is
        .list(is.cidr)
        .default([])
        .meta({ description: "Networks whose PROXY headers are believed." }),
      position: is
        .choice(["outer", "inner"])
        .default("outer")
        .meta({ description: "outer: before TLS. inner: inside the terminated TLS." }),
    })
    .prefault({})
    .meta({ description: "PROXY protocol v1 and v2 in." }),
  transparent: is
    .choice(["off", "redirect", "tproxy"])
    .default("off")
    .meta({ description: "Whether the kernel sends connections here that were meant for somebody else." }),
  limits: is
    .mapping({
      connections: is
        .integer(1, MAX_CONNECTIONS)
        .optional()
        .meta({ description: "At once; none when left out." }),
      per_source: is
        .integer(0, MAX_CONNECTIONS)
        .optional()
        .meta({ description: "At once from one address; 0: no limit." }),
    })
    .optional()
    .meta({ description: "Limits of this listener's own." }),
  timeouts: listenerTimeoutsSchema
    .optional()
    .meta({ description: "What differs from the process's timeouts." }),
};

const defaultSchema = z
  .union([z.literal("refuse"), defaultRouteSchema], {
    error: () => "must be refuse or a route without match",
  })
  .default("refuse")
  .meta({ description: "What becomes of connections that no route takes." });

export const listenerSchema = is.mapping({
  ...listenerKeys,
  default: defaultSchema,
  routes: is
    .list(routeSchema)
    .default([])
    .meta({ description: "The ways on, by what the connection shows." }),
});

export type IdentityWritten = z.output<typeof identitySchema>;
export type RouteWritten = z.output<typeof routeSchema>;
export type ListenerWritten = z.output<typeof listenerSchema>;
export type PeerRuleWritten = z.output<typeof peerRuleSchema>;
