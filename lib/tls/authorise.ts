/**
 * The verdict on a peer whose chain has been verified: its dates, then the rules. The dates are looked at here again because a
 * resumed session skips the chain, and so a certificate could outlive its end by the life of a ticket. Invariant: whoever is
 * not named by a rule, or by the expected name where there are no rules, stays out (design.md, promise 4).
 */
import type { PeerRule } from "../config/config.ts";
import { ProxyError } from "../errors.ts";
import type { Peer } from "../transport/transport.ts";
import { ALERT } from "../wire/alert.ts";
import { isUnreadable } from "./peer.ts";
import { compileRules, formatRule, provesName, type Subjects } from "./rules.ts";

export interface AuthoriserOptions {
  readonly rules: readonly PeerRule[];
  /** For messages: `route web` or `cluster db`. */
  readonly label: string;
  /** Wall clock in ms. */
  readonly now: () => number;
  /** Who is judged: clients of a listener (the default), or the servers that a cluster dials. */
  readonly subjects?: Subjects;
}

export type Authorise = (peer: Peer, name: string | null) => ProxyError | null;

/** The error's `alert` is what the other side is told. */
export function authoriser(options: AuthoriserOptions): Authorise {
  const { rules, label, now, subjects = "clients" } = options;
  const match = compileRules(rules, subjects);
  return (peer, name) => {
    if (isUnreadable(peer)) {
      return denial(
        "DENIED",
        `${label}: ${describePeer(peer)} has a certificate that cannot be read`,
        ALERT.bad_certificate,
      );
    }
    const time = now();
    if (time > peer.notAfter) {
      const since = new Date(peer.notAfter).toISOString();
      return denial(
        "EXPIRED",
        `${label}: the certificate of ${describePeer(peer)} expired at ${since}`,
        ALERT.certificate_expired,
      );
    }
    if (time < peer.notBefore) {
      const from = new Date(peer.notBefore).toISOString();
      return denial(
        "EXPIRED",
        `${label}: the certificate of ${describePeer(peer)} is not valid before ${from}; compare the clocks`,
        ALERT.bad_certificate,
      );
    }
    if (rules.length === 0) {
      if (name !== null && provesName(peer, name)) return null;
      const wanted =
        name === null ? "there is neither a rule nor a name to expect" : `it does not prove the name ${name}`;
      return denial(
        "DENIED",
        `${label}: ${describePeer(peer)} is not let in: ${wanted}`,
        ALERT.certificate_unknown,
      );
    }
    if (match(peer) !== null) return null;
    return denial(
      "DENIED",
      `${label}: ${describePeer(peer)} matches none of ${rules.map(formatRule).join(", ")}; ${suggestion(peer)} would let it in`,
      ALERT.certificate_unknown,
    );
  };
}

function denial(code: "DENIED" | "EXPIRED", message: string, alert: number): ProxyError {
  return new ProxyError(code, message, { alert });
}

/** One line that tells an operator who this is: subject, alternative names, short fingerprint. */
export function describePeer(peer: Peer): string {
  const names = namesOf(peer).slice(0, 4).join(", ");
  const shown = names === "" ? "" : `${names}, `;
  return `peer ${peer.subject === "" ? "without subject" : peer.subject} (${shown}sha256:${peer.fingerprint.slice(0, 16)}…)`;
}

/** Alternative names with their kind, as the access record shows them. */
export function namesOf(peer: Peer): string[] {
  return [
    ...peer.uris.map((uri) => `URI:${uri}`),
    ...peer.dns.map((name) => `DNS:${name}`),
    ...peer.ips.map((ip) => `IP:${ip}`),
  ];
}

/** The narrowest rule for exactly this peer. */
function suggestion(peer: Peer): string {
  const uri = peer.uris.length === 1 && peer.uris[0]!.startsWith("spiffe://") ? peer.uris[0] : undefined;
  if (uri !== undefined) return formatRule({ kind: "spiffe", value: uri });
  const dns = peer.dns.find((name) => !name.startsWith("*"));
  if (dns !== undefined) return formatRule({ kind: "dns", value: dns });
  if (peer.commonName !== null) return formatRule({ kind: "cn", value: peer.commonName });
  return formatRule({ kind: "fingerprint", value: peer.fingerprint });
}
