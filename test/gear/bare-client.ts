/**
 * The smallest TLS 1.3 client: one suite, one group, no session tickets asked for (it sends no psk_key_exchange_modes, as Go's
 * client does without a session cache). It shows a client certificate when asked and reports every record that follows the
 * handshake, decrypted. It verifies nothing. RFC 8446.
 */
import {
  createCipheriv,
  createDecipheriv,
  createHash,
  createHmac,
  createPublicKey,
  diffieHellman,
  generateKeyPairSync,
  randomBytes,
  sign,
} from "node:crypto";
import { connect } from "node:net";
import type { Pair } from "../../lib/tls/authority.ts";
import { pemBytes } from "../../lib/tls/pem.ts";

const EMPTY = Buffer.alloc(0);
// What one record may hold, RFC 8446 section 5.1.
const RECORD = 16_384;
// DER of an X25519 SubjectPublicKeyInfo up to the key itself (RFC 8410).
const X25519_HEAD = Buffer.from("302a300506032b656e032100", "hex");

const hash = (bytes: Uint8Array) => createHash("sha256").update(bytes).digest();
const hmac = (key: Uint8Array, bytes: Uint8Array) => createHmac("sha256", key).update(bytes).digest();

function vector(bytes: number, ...parts: Uint8Array[]): Buffer {
  const content = Buffer.concat(parts);
  const head = Buffer.alloc(bytes);
  head.writeUIntBE(content.length, 0, bytes);
  return Buffer.concat([head, content]);
}

function expand(secret: Uint8Array, label: string, context: Uint8Array, length: number): Buffer {
  const info = Buffer.concat([
    Buffer.from([0, length]),
    vector(1, Buffer.from(`tls13 ${label}`)),
    vector(1, context),
    Buffer.from([1]),
  ]);
  return hmac(secret, info).subarray(0, length);
}

/** One direction's record protection. */
class Keys {
  readonly #key: Buffer;
  readonly #iv: Buffer;
  #sequence = 0;

  constructor(secret: Uint8Array) {
    this.#key = expand(secret, "key", EMPTY, 16);
    this.#iv = expand(secret, "iv", EMPTY, 12);
  }

  #nonce(): Buffer {
    const nonce = Buffer.from(this.#iv);
    nonce.writeUInt32BE((nonce.readUInt32BE(8) ^ this.#sequence++) >>> 0, 8);
    return nonce;
  }

  seal(type: number, content: Uint8Array): Buffer {
    const header = Buffer.from([23, 3, 3, 0, 0]);
    header.writeUInt16BE(content.length + 17, 3);
    const cipher = createCipheriv("aes-128-gcm", this.#key, this.#nonce()).setAAD(header);
    return Buffer.concat([
      header,
      cipher.update(content),
      cipher.update(Buffer.from([type])),
      cipher.final(),
      cipher.getAuthTag(),
    ]);
  }

  open(record: Buffer): { type: number; content: Buffer } {
    const decipher = createDecipheriv("aes-128-gcm", this.#key, this.#nonce()).setAAD(record.subarray(0, 5));
    decipher.setAuthTag(record.subarray(-16));
    const inner = Buffer.concat([decipher.update(record.subarray(5, -16)), decipher.final()]);
    let end = inner.length;
    while (inner[end - 1] === 0) end--;
    return { type: inner[end - 1]!, content: inner.subarray(0, end - 1) };
  }
}

export interface BareOptions {
  /** What it shows instead of the pair's certificate, well-formed or not; the pair's key signs. */
  readonly certificates?: readonly Uint8Array[];
}

/** What came after the handshake, until the other side closed: `ticket`, `alert 46`, `data …`. */
export async function shakeHands(port: number, pair: Pair, options: BareOptions = {}): Promise<string[]> {
  const socket = connect({ port, host: "127.0.0.1" });
  const records = readRecords(socket);
  const next = async () => {
    const record = (await records.next()).value as Buffer | undefined;
    if (record === undefined) throw new Error("the connection ended in the handshake");
    return record;
  };
  const { privateKey, publicKey } = generateKeyPairSync("x25519");
  const share = publicKey.export({ type: "spki", format: "der" }).subarray(-32);
  const hello = message(1, clientHello(share));
  socket.write(Buffer.concat([Buffer.from([22, 3, 1]), vector(2, hello)]));

  const serverHello = (await next()).subarray(5);
  const theirs = createPublicKey({
    key: Buffer.concat([X25519_HEAD, keyShare(serverHello)]),
    format: "der",
    type: "spki",
  });
  const early = hmac(Buffer.alloc(32), Buffer.alloc(32));
  const handshake = hmac(
    expand(early, "derived", hash(EMPTY), 32),
    diffieHellman({ privateKey, publicKey: theirs }),
  );
  const master = hmac(expand(handshake, "derived", hash(EMPTY), 32), Buffer.alloc(32));
  let transcript = Buffer.concat([hello, serverHello]);
  const clientSecret = expand(handshake, "c hs traffic", hash(transcript), 32);
  const opening = new Keys(expand(handshake, "s hs traffic", hash(transcript), 32));

  let flight = EMPTY;
  let asked = false;
  for (let finished = false; !finished; ) {
    const record = await next();
    if (record[0] === 20) continue; // the compatibility change_cipher_spec
    flight = Buffer.concat([flight, opening.open(record).content]);
    while (flight.length >= 4 && flight.length >= 4 + flight.readUIntBE(1, 3)) {
      const length = 4 + flight.readUIntBE(1, 3);
      if (flight[0] === 13) asked = true;
      if (flight[0] === 20) finished = true;
      transcript = Buffer.concat([transcript, flight.subarray(0, length)]);
      flight = flight.subarray(length);
    }
  }
  const data = new Keys(expand(master, "s ap traffic", hash(transcript), 32));
  const speaking = new Keys(expand(master, "c ap traffic", hash(transcript), 32));
  const sealing = new Keys(clientSecret);
  const answer = (body: Buffer) => {
    transcript = Buffer.concat([transcript, body]);
    for (let at = 0; at < body.length; at += RECORD) {
      socket.write(sealing.seal(22, body.subarray(at, at + RECORD)));
    }
  };
  if (asked) {
    const shown = options.certificates ?? [pemBytes(pair.cert)];
    const entries = shown.flatMap((der) => [vector(3, der), vector(2)]);
    answer(message(11, Buffer.concat([Buffer.from([0]), vector(3, ...entries)])));
    const signed = Buffer.concat([
      Buffer.alloc(64, 0x20),
      Buffer.from("TLS 1.3, client CertificateVerify\0"),
      hash(transcript),
    ]);
    answer(message(15, Buffer.concat([Buffer.from([4, 3]), vector(2, sign("sha256", signed, pair.key))])));
  }
  answer(message(20, hmac(expand(clientSecret, "finished", EMPTY, 32), hash(transcript))));

  const seen: string[] = [];
  for await (const record of records) {
    const { type, content } = data.open(record);
    if (type === 22) seen.push("ticket");
    else if (type === 21) {
      seen.push(`alert ${content[1]}`);
      // close_notify for close_notify.
      if (content[1] === 0) socket.write(speaking.seal(21, content));
    } else seen.push(`data ${content.toString()}`);
  }
  socket.destroy();
  return seen;
}

function message(type: number, body: Uint8Array): Buffer {
  return Buffer.concat([Buffer.from([type]), vector(3, body)]);
}

function clientHello(share: Uint8Array): Buffer {
  const extension = (type: number, body: Uint8Array) =>
    Buffer.concat([Buffer.from([0, type]), vector(2, body)]);
  const algorithms = vector(2, Buffer.from("040308040401", "hex")); // ECDSA P-256, RSA-PSS, RSA with SHA-256
  return Buffer.concat([
    Buffer.from([3, 3]),
    randomBytes(32),
    vector(1, randomBytes(32)),
    vector(2, Buffer.from([0x13, 0x01])), // TLS_AES_128_GCM_SHA256
    vector(1, Buffer.from([0])),
    vector(
      2,
      extension(43, vector(1, Buffer.from([3, 4]))),
      extension(10, vector(2, Buffer.from([0, 29]))),
      extension(13, algorithms),
      extension(51, vector(2, Buffer.from([0, 29]), vector(2, share))),
    ),
  ]);
}

/** The X25519 share of a ServerHello. */
function keyShare(serverHello: Buffer): Buffer {
  let at = 4 + 2 + 32;
  at += 1 + serverHello[at]! + 2 + 1 + 2;
  while (at < serverHello.length) {
    const length = serverHello.readUInt16BE(at + 2);
    if (serverHello.readUInt16BE(at) === 51) return serverHello.subarray(at + 8, at + 4 + length);
    at += 4 + length;
  }
  throw new Error("no key share");
}

async function* readRecords(source: AsyncIterable<Buffer>): AsyncGenerator<Buffer> {
  let held = EMPTY;
  for await (const chunk of source) {
    held = Buffer.concat([held, chunk]);
    while (held.length >= 5 && held.length >= 5 + held.readUInt16BE(3)) {
      const length = 5 + held.readUInt16BE(3);
      yield held.subarray(0, length);
      held = held.subarray(length);
    }
  }
}
