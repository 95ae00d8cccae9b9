/**
 * A strict reader of DER, as much of it as certificates and revocation lists need: definite, minimal lengths, low tag
 * numbers, nothing beyond the end. ITU-T X.690 section 10; types of RFC 5280. Reads nothing outside the given range and throws
 * `RangeError` on the first byte that is not DER.
 */

/** One element: its tag and where its content lies in the bytes it was read from. */
export interface Element {
  readonly tag: number;
  readonly start: number;
  readonly end: number;
}

export const BOOLEAN = 0x01;
export const INTEGER = 0x02;
export const BIT_STRING = 0x03;
export const OCTET_STRING = 0x04;
export const OID = 0x06;
export const UTF8_STRING = 0x0c;
export const PRINTABLE_STRING = 0x13;
export const IA5_STRING = 0x16;
export const UTC_TIME = 0x17;
export const GENERALIZED_TIME = 0x18;
export const SEQUENCE = 0x30;
export const SET = 0x31;

/** The element that begins at `at` and must end at or before `limit`. */
export function elementAt(bytes: Uint8Array, at: number, limit: number): Element {
  if (at + 2 > limit) throw new RangeError("DER ends inside an element");
  const tag = bytes[at]!;
  if ((tag & 0x1f) === 0x1f) throw new RangeError("DER tag number above 30");
  let length = bytes[at + 1]!;
  let start = at + 2;
  if (length >= 0x80) {
    const octets = length & 0x7f;
    // Three octets are 16 MiB; zero octets would be BER's indefinite form.
    if (octets === 0 || octets > 3 || start + octets > limit)
      throw new RangeError("DER length out of bounds");
    length = 0;
    for (let index = 0; index < octets; index++) length = length * 256 + bytes[start + index]!;
    if (length < 0x80 || (octets > 1 && bytes[start] === 0)) throw new RangeError("DER length not minimal");
    start += octets;
  }
  if (start + length > limit) throw new RangeError("DER element longer than its container");
  return { tag, start, end: start + length };
}

/** The only element of a whole value; anything behind it is a fault. */
export function onlyElement(bytes: Uint8Array, start: number, end: number, tag: number): Element {
  const element = elementAt(bytes, start, end);
  if (element.tag !== tag || element.end !== end) throw new RangeError("DER value of another shape");
  return element;
}

/** All elements inside a constructed one. */
export function elementsOf(bytes: Uint8Array, parent: Element): Element[] {
  const found: Element[] = [];
  for (let at = parent.start; at < parent.end; ) {
    const element = elementAt(bytes, at, parent.end);
    found.push(element);
    at = element.end;
  }
  return found;
}

/** The content, one character per byte; the form in which object identifiers are compared here. */
export function rawText(bytes: Uint8Array, element: Element): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset + element.start, element.end - element.start).toString(
    "latin1",
  );
}

// RFC 5280 section 4.1.2.5: seconds always, no fraction, always Z.
const UTC = /^(\d\d)(\d\d)(\d\d)(\d\d)(\d\d)(\d\d)Z$/;
const GENERALIZED = /^(\d{4})(\d\d)(\d\d)(\d\d)(\d\d)(\d\d)Z$/;

/** A Time as Unix ms. */
export function timeOf(bytes: Uint8Array, element: Element): number {
  const parts = (element.tag === UTC_TIME ? UTC : GENERALIZED).exec(rawText(bytes, element));
  if (parts === null || (element.tag !== UTC_TIME && element.tag !== GENERALIZED_TIME)) {
    throw new RangeError("DER time of another shape");
  }
  let year = Number(parts[1]);
  if (element.tag === UTC_TIME) year += year < 50 ? 2000 : 1900;
  return Date.UTC(
    year,
    Number(parts[2]) - 1,
    Number(parts[3]),
    Number(parts[4]),
    Number(parts[5]),
    Number(parts[6]),
  );
}
