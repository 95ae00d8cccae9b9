/**
 * What a user may write under `clusters:`. Form only: whether identities exist and settings fit together is checks.ts
 * and coherence.ts.
 */
import { z } from "zod";
import * as is from "./scalars.ts";
import { peerRuleSchema } from "./schema-listener.ts";

const port = is.integer(1, 65535);
/** Weights and priorities are the 16-bit numbers of SRV records (RFC 2782). */
const u16 = is.integer(0, 65535);

const endpointSchema = z.union(
  [
    is.targetAddress,
    is.mapping({
      address: is.targetAddress.meta({
        description: "10.0.0.7:8080, [fd77::7]:8080, name:8080 or unix:/path.",
      }),
      weight: u16.default(1).meta({ description: "Share beside the others of its priority." }),
      priority: u16.default(0).meta({ description: "Lower is preferred." }),
    }),
  ],
  { error: () => 'must be an address such as "10.0.0.7:8080" or { address, weight, priority }' },
);

/** The five places that endpoints can come from; a cluster has exactly one. */
export const SOURCES = [
  "endpoints",
  "discover",
  "dns",
  "original_destination",
  "announced_destination",
] as const;

export const clusterSchema = is
  .mapping({
    endpoints: is.list(endpointSchema).optional().meta({ description: "Endpoints by address." }),
    discover: is
      .mapping({
        srv: is.hostName.meta({ description: "Name of SRV records: _service._proto.domain." }),
        min_ttl: is.duration.prefault("1s").meta({ description: "Answers are kept at least this long." }),
        max_ttl: is.duration.prefault("5m").meta({ description: "Answers are kept at most this long." }),
        keep_last_good: is.boolean
          .default(true)
          .meta({ description: "Go on with the last answer when DNS fails." }),
        max_removal: is.share
          .default(0.5)
          .meta({ description: "Share of the endpoints that one unconfirmed answer may remove." }),
      })
      .optional()
      .meta({ description: "Endpoints from DNS SRV records." }),
    dns: is.nameAddress
      .optional()
      .meta({ description: "Endpoints from the addresses of NAME:PORT, over time." }),
    original_destination: is
      .mapping({
        port: port.optional().meta({ description: "Dial this port instead of the one the client meant." }),
      })
      .optional()
      .meta({ description: "Dial the address that the client meant." }),
    announced_destination: is
      .mapping({
        allow: is
          .list(is.destination)
          .meta({ description: "Destinations that may be dialled: NETWORK:PORT." }),
      })
      .optional()
      .meta({ description: "Dial what the trusted PROXY header says." }),
    balance: is
      .choice(["round_robin", "random", "least_connections", "source_hash"])
      .default("round_robin")
      .meta({ description: "How an endpoint is picked among those of the best priority." }),
    connect: is
      .mapping({
        retries: is.integer(0, 10).default(2).meta({ description: "Other endpoints tried after the first." }),
        timeout: is.duration
          .optional()
          .meta({ description: "Of one attempt; timeouts.connect when left out." }),
      })
      .prefault({}),
    health: is
      .mapping({
        interval: is.duration.prefault("5s").meta({ description: "From one check to the next." }),
        timeout: is.duration.prefault("1s").meta({ description: "Of one check." }),
        rise: is.integer(1, 1000).default(2).meta({ description: "Good checks until it is up." }),
        fall: is.integer(1, 1000).default(3).meta({ description: "Bad checks until it is down." }),
        check: is
          .choice(["tcp", "tls"])
          .optional()
          .meta({ description: "tls also makes a handshake; the default where the cluster has tls." }),
        send: is.text.optional().meta({ description: "Bytes to send once connected." }),
        expect: is.text.optional().meta({ description: "Bytes that the answer must begin with." }),
      })
      .optional()
      .meta({ description: "Active health checks; off when left out." }),
    eject: is
      .mapping({
        failures: is.integer(1, 1000).default(5).meta({ description: "Failed dials in a row." }),
        for: is.duration.prefault("30s").meta({ description: "How long it is left out." }),
        max_percent: is
          .integer(0, 100)
          .default(50)
          .meta({ description: "Share of the endpoints that may be out." }),
      })
      .optional()
      .meta({ description: "Leave out endpoints that fail real connections; off when left out." }),
    tls: is
      .mapping({
        identity: is
          .reference("an identity")
          .optional()
          .meta({ description: "Certificate to show and trust bundle to check with." }),
        server_name: is.serverName
          .optional()
          .meta({ description: "SNI; the endpoint's name when left out." }),
        verify: is
          .list(peerRuleSchema)
          .default([])
          .meta({ description: "Who the endpoint must be, any of; its server_name when left out." }),
        alpn: is.list(is.alpnName).default([]).meta({ description: "Protocols offered to the endpoint." }),
        tls_min: is.tlsVersion.optional().meta({ description: "Oldest TLS version taken.", default: "1.2" }),
      })
      .optional()
      .meta({ description: "Originate TLS to the endpoints." }),
    proxy_protocol: is
      .choice(["off", "v1", "v2"])
      .default("off")
      .meta({ description: "PROXY header sent first." }),
    source: is
      .choice(["proxy", "client"])
      .default("proxy")
      .meta({ description: "Whose address the endpoints see; client needs transparency." }),
    slow_start: is.durationOrOff
      .prefault("0s")
      .meta({ description: "Time in which a returning endpoint grows to its full share." }),
  })
  .meta({
    description: `A named set of interchangeable endpoints: exactly one of ${is.either(SOURCES)}.`,
  });

export type ClusterWritten = z.output<typeof clusterSchema>;
