/**
 * What an operator must know about a revocation list before peers are refused because of it: who issued it and until when it
 * holds. Signatures are OpenSSL's business, at the handshake. RFC 5280 section 5.
 */
import type { X509Certificate } from "node:crypto";
import {
  BIT_STRING,
  elementsOf,
  GENERALIZED_TIME,
  INTEGER,
  onlyElement,
  rawText,
  SEQUENCE,
  timeOf,
  UTC_TIME,
} from "./der.ts";

export interface RevocationList {
  /** The issuer's name in DER, as bytes in a string: compare, never print. */
  readonly issuer: string;
  readonly thisUpdate: number;
  /** Unix ms; null: the list names no end. */
  readonly nextUpdate: number | null;
  readonly entries: number;
}

/** Throws `RangeError` where the bytes are no revocation list. */
export function readCrl(der: Uint8Array): RevocationList {
  const outer = elementsOf(der, onlyElement(der, 0, der.length, SEQUENCE));
  const list = outer[0];
  if (list?.tag !== SEQUENCE || outer[1]?.tag !== SEQUENCE || outer[2]?.tag !== BIT_STRING) {
    throw new RangeError("no revocation list");
  }
  const fields = elementsOf(der, list);
  let at = fields[0]?.tag === INTEGER ? 1 : 0;
  const issuer = fields[at + 1];
  const thisUpdate = fields[at + 2];
  if (fields[at]?.tag !== SEQUENCE || issuer?.tag !== SEQUENCE || thisUpdate === undefined) {
    throw new RangeError("no revocation list");
  }
  at += 3;
  const next = fields[at];
  const hasNext = next !== undefined && (next.tag === UTC_TIME || next.tag === GENERALIZED_TIME);
  const revoked = fields[hasNext ? at + 1 : at];
  return {
    issuer: rawText(der, issuer),
    thisUpdate: timeOf(der, thisUpdate),
    nextUpdate: hasNext ? timeOf(der, next) : null,
    entries: revoked?.tag === SEQUENCE ? elementsOf(der, revoked).length : 0,
  };
}

/** A certificate's subject in DER, in the form of `RevocationList.issuer`. */
export function subjectBytes(certificate: X509Certificate): string {
  const der = certificate.raw;
  const fields = elementsOf(der, elementsOf(der, onlyElement(der, 0, der.length, SEQUENCE))[0]!);
  return rawText(der, fields[fields[0]!.tag === 0xa0 ? 5 : 4]!);
}
