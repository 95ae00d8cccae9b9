/** What a proxy made of many peers, one text per peer, so that two transports can be compared line by line. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { type Access, TRANSPORTS, type TransportName } from "./scene.ts";

/** A connection as its peer saw it. */
export interface Seen {
  readonly what: string;
  /** The alert that came, where one could come. */
  readonly alert?: number | null;
}

const judged = new Map<TransportName, string[]>();

/**
 * Keeps the verdicts of one transport: with each peer the reason, the alert, whom the line names, and its words without what
 * is made anew in every run (fingerprints, dates, ports).
 */
export function keep(transport: TransportName, seen: readonly Seen[], lines: readonly Access[]): void {
  assert.equal(lines.length, seen.length);
  judged.set(
    transport,
    seen.map(({ what, alert }, at) => {
      const { reason, tls, sni, alpn, peer, upstream_peer, error } = lines[at]!;
      const names = [...(peer?.san ?? []), ...(upstream_peer?.san ?? [])].slice(0, 5).join(" ");
      const who = `${peer?.subject ?? upstream_peer?.subject ?? "nobody"} ${names}`;
      const told = alert === undefined ? "" : ` ${alert}`;
      return `${what}: ${reason}${told}; ${tls} ${sni} ${alpn}; ${who}; ${words(error)}`;
    }),
  );
}

/** Declares the test that compares them; put it last. */
export function bothSayTheSame(): void {
  const skip = TRANSPORTS.length < 2 && "epoll does not run here";
  test("both transports say the same", { skip }, () => {
    const [net, epoll] = [judged.get("net"), judged.get("epoll")];
    assert(net !== undefined && epoll !== undefined, "both have run");
    assert.deepEqual(net, epoll);
  });
}

/** An error without what differs from run to run. */
export function words(error: string | undefined): string | undefined {
  return error
    ?.replaceAll(/sha256:[0-9a-f]+/g, "sha256:…")
    .replaceAll(/\d{4}-\d\d-\d\dT[\d:.]+Z/g, "DATE")
    .replaceAll(/127\.0\.0\.1:\d+/g, "ADDRESS");
}
