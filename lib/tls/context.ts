/**
 * From configuration and identity to what a transport compiles into a TLS context. Invariant: two contexts share sessions only
 * if they would have judged the peer alike, so route, cluster, trust bundle, revocation list and rules are all in the session
 * context. SSL_CTX_set_session_id_context(3).
 */
import { createHash } from "node:crypto";
import type { ClusterConfig, RouteConfig } from "../config/config.ts";
import { ProxyError } from "../errors.ts";
import type { TlsContextSpec } from "../transport/transport.ts";
import { authoriser } from "./authorise.ts";
import type { Identity } from "./identity.ts";

type Clock = () => number;

/**
 * The spec of a route that terminates. `ticketKeys`: see `TicketKeys`; null keeps tickets to the one context. `now` is the wall
 * clock. Throws ProxyError IDENTITY where the identity lacks what the route needs.
 */
export function serverSpec(
  route: RouteConfig,
  identity: Identity,
  ticketKeys: Uint8Array | null,
  now: Clock = Date.now,
): TlsContextSpec {
  const label = `route ${route.name}`;
  if (identity.cert === null || identity.key === null) {
    throw new ProxyError(
      "IDENTITY",
      `${label}: identity ${identity.name} has no certificate to show; add cert and key`,
    );
  }
  if (route.clientAuth !== "none" && identity.ca === null) {
    throw new ProxyError(
      "IDENTITY",
      `${label}: client_auth is ${route.clientAuth} but identity ${identity.name} has no ca to verify clients with`,
    );
  }
  // With client_auth none nobody is asked, so nobody is judged either.
  const rules = route.clientAuth === "none" ? [] : route.allow;
  return {
    side: "server",
    label,
    cert: identity.cert,
    key: identity.key,
    ca: identity.ca,
    crl: identity.crl,
    clientAuth: route.clientAuth,
    alpn: route.alpn,
    minVersion: route.tlsMin,
    sessionContext: digest([
      "server",
      route.name,
      route.cluster,
      route.clientAuth,
      identity.ca,
      identity.crl,
      rules,
    ]),
    ticketKeys,
    authorise: authoriser({ rules, label, now }),
  };
}

/**
 * The spec of a cluster that originates. Without an identity it shows no certificate and trusts what the system trusts
 * (`ca` null: the transport's default roots). Throws ProxyError IDENTITY where the cluster has no `tls`.
 */
export function clientSpec(
  cluster: ClusterConfig,
  identity: Identity | null,
  now: Clock = Date.now,
): TlsContextSpec {
  const label = `cluster ${cluster.name}`;
  const { tls } = cluster;
  if (tls === null) throw new ProxyError("IDENTITY", `${label}: has no tls settings`);
  const ca = identity?.ca ?? null;
  const crl = identity?.crl ?? null;
  return {
    side: "client",
    label,
    cert: identity?.cert ?? null,
    key: identity?.key ?? null,
    ca,
    crl,
    clientAuth: "required",
    alpn: tls.alpn,
    minVersion: tls.tlsMin,
    sessionContext: digest(["client", cluster.name, identity?.fingerprint ?? null, ca, crl, tls.verify]),
    ticketKeys: null,
    authorise: authoriser({ rules: tls.verify, label, now, subjects: "servers" }),
  };
}

/** 32 bytes, all that OpenSSL takes. JSON keeps the parts apart: no two lists of parts have the same text. */
function digest(parts: readonly unknown[]): Uint8Array {
  return new Uint8Array(createHash("sha256").update(JSON.stringify(parts)).digest());
}
