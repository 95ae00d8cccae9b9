/**
 * Finds a TLS ClientHello at the start of a stream, over any number of TCP segments and TLS records, without consuming it.
 * Invariants: a verdict depends on the bytes alone, never on how they arrived; framing is no stricter than OpenSSL 3, so that
 * passthrough and termination judge a client alike (the refusals of names are the one exception, hello-message.ts).
 * RFC 8446 sections 4.1.2 and 5.1; what is inside the message is hello-message.ts.
 */
import { ALERT } from "./alert.ts";
import { type BadHello, badHello, type Hello, parseMessage } from "./hello-message.ts";

export type { Hello } from "./hello-message.ts";

export type HelloVerdict =
  | { readonly kind: "hello"; readonly hello: Hello }
  /**
   * Undecided. `need` is greater than what was shown; before `need` bytes in all are there, the stream can be neither a hello
   * nor found not to be TLS. (It may already be broken further on: that comes to light with `need` bytes, or at the deadline.
   * Were every record boundary a reason to look again, a client sending one-byte records would cost quadratic time.)
   */
  | { readonly kind: "more"; readonly need: number }
  /** TLS, but no hello to go on with; `alert` is the number to answer with. `why` holds nothing the client sent verbatim. */
  | BadHello
  | { readonly kind: "not_tls"; readonly why: string };

const HANDSHAKE = 22;
const CLIENT_HELLO = 1;
const HEADER = 5;
const MAX_RECORD = 16384; // RFC 8446 section 5.1
const MAX_EMPTY = 32; // empty records in a row that OpenSSL puts up with (MAX_EMPTY_RECORDS)
const MIN_MESSAGE = 4 + 41; // header, version, random, empty session id, one cipher, one compression method

/**
 * Judges the first bytes of a stream, always all of them from the first. A hello may take up to `limit` bytes of stream,
 * record headers included; a larger one is `bad` with decode_error, as soon as a length says so. A record beyond 2^14 bytes
 * is `bad` with record_overflow, whatever the limit. `limit` is at least 64. Never throws.
 */
export function parseHello(bytes: Uint8Array, limit: number): HelloVerdict {
  const end = Math.min(bytes.length, limit);
  if (end > 0 && bytes[0] !== HANDSHAKE) return parseForeign(bytes, end);
  let record = 0; // where the current record begins
  let seen = 0; // bytes of the handshake message before the current record
  let size = 0; // bytes of the whole message with its header, as far as the header has come
  let empty = 0;
  for (;;) {
    const broken = checkHeader(bytes, record, end);
    if (broken !== null) return broken;
    if (end < record + HEADER) {
      // While it is open whether this is TLS, every byte that can decide is a reason to look.
      const need =
        record === 0 ? (end < 2 ? end + 1 : HEADER + 1) : floor(record, 0, seen, seen < 4 ? 0 : size);
      return need > limit ? beyond(limit) : { kind: "more", need };
    }
    const length = bytes[record + 3]! * 256 + bytes[record + 4]!;
    if (length > MAX_RECORD) return badHello(ALERT.record_overflow, `a TLS record of ${length} bytes`);
    const payload = record + HEADER;
    if (length > 0) empty = 0;
    else if (++empty > MAX_EMPTY) return badHello(ALERT.unexpected_message, "too many empty TLS records");

    // The limit is held against what is known here, before the payload is read: the verdict is the same in any segments.
    if (floor(payload, length, seen, seen < 4 ? 0 : size) > limit) return beyond(limit);

    const shown = Math.min(end, payload + length);
    if (seen === 0 && shown > payload && bytes[payload] !== CLIENT_HELLO)
      return badHello(
        ALERT.unexpected_message,
        `handshake message ${bytes[payload]} instead of a ClientHello`,
      );
    for (let i = Math.max(seen, 1); i < 4 && payload + i - seen < shown; i++) {
      size += bytes[payload + i - seen]! * (i === 1 ? 65536 : i === 2 ? 256 : 1);
      if (i === 3) size += 4;
    }
    const known = seen + shown - payload >= 4;
    if (known && size < MIN_MESSAGE) return badHello(ALERT.decode_error, `a ClientHello of ${size} bytes`);

    const least = floor(payload, length, seen, known ? size : 0);
    if (least > limit) return beyond(limit);
    if (known && seen + shown - payload >= size) return finish(bytes, record, seen, size);
    if (shown < payload + length || shown === end) {
      // The first payload byte decides on its own whether this is a hello.
      return { kind: "more", need: record === 0 && shown === payload && length > 0 ? payload + 1 : least };
    }
    seen += length;
    record = payload + length;
  }
}

/** The record header at `record`, as far as it has come. OpenSSL looks at the major version only. */
function checkHeader(bytes: Uint8Array, record: number, end: number): HelloVerdict | null {
  if (record < end && bytes[record] !== HANDSHAKE)
    return badHello(ALERT.unexpected_message, `TLS record type ${bytes[record]} inside a ClientHello`);
  if (record + 1 >= end || bytes[record + 1] === 3) return null;
  if (record === 0) return { kind: "not_tls", why: "no TLS version behind the first byte" };
  return badHello(ALERT.protocol_version, `TLS record version ${bytes[record + 1]}.x`);
}

/**
 * The least stream length with which the message can be complete: `at` is where `length` bytes of payload begin (or the next
 * record header, with 0), `seen` bytes of the message came before. `size` 0: not known yet, the smallest hello is assumed.
 */
function floor(at: number, length: number, seen: number, size: number): number {
  const rest = Math.max(size, MIN_MESSAGE) - seen;
  if (rest <= length) return at + rest;
  return at + rest + Math.ceil((rest - length) / MAX_RECORD) * HEADER;
}

function beyond(limit: number): BadHello {
  return badHello(ALERT.decode_error, `a ClientHello beyond the limit of ${limit} bytes`);
}

/** The message is complete; it ends in the record at `record`, before which `seen` bytes of it came. */
function finish(bytes: Uint8Array, record: number, seen: number, size: number): HelloVerdict {
  const length = record + HEADER + size - seen;
  const parsed =
    seen === 0
      ? parseMessage(bytes, record + HEADER + 4, length, length)
      : parseMessage(gather(bytes, size), 4, size, length);
  return "kind" in parsed ? parsed : { kind: "hello", hello: parsed };
}

/** The message without record headers. The records were checked. */
function gather(bytes: Uint8Array, size: number): Uint8Array {
  const message = new Uint8Array(size);
  let at = 0;
  for (let record = 0; at < size; ) {
    const length = bytes[record + 3]! * 256 + bytes[record + 4]!;
    const take = Math.min(length, size - at);
    message.set(bytes.subarray(record + HEADER, record + HEADER + take), at);
    at += take;
    record += HEADER + length;
  }
  return message;
}

/**
 * A first byte that no TLS record has. One thing is told apart from plaintext: the SSLv2 form of a ClientHello (RFC 5246
 * section E.2), which RFC 8446 section D.5 forbids and which cannot carry a server name.
 */
function parseForeign(bytes: Uint8Array, end: number): HelloVerdict {
  const first = bytes[0]!;
  if (first < 0x80) return { kind: "not_tls", why: "the first byte is not a TLS handshake" };
  if (end < 3) return { kind: "more", need: 3 };
  if (bytes[2] !== CLIENT_HELLO) return { kind: "not_tls", why: "the first bytes are not a TLS handshake" };
  if (end < 4) return { kind: "more", need: 4 };
  if (bytes[3] !== 0 && bytes[3] !== 3)
    return { kind: "not_tls", why: "the first bytes are not a TLS handshake" };
  if (end < 5) return { kind: "more", need: 5 };
  if (bytes[3] === 0 && bytes[4] !== 2)
    return { kind: "not_tls", why: "the first bytes are not a TLS handshake" };
  return badHello(ALERT.protocol_version, "a ClientHello in SSLv2 form");
}
