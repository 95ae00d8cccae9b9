import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { test } from "node:test";
import dnsPacket from "dns-packet";
import { decodeMessage, EDNS_BYTES, encodeQuery, formatRecord } from "../../lib/dns/message.ts";
import { a, aaaa, cname, soa, srv } from "../gear/dns.ts";

const OWNER = "_db._tcp.example.test";
const RICH = dnsPacket.encode({
  type: "response",
  id: 7,
  flags: dnsPacket.AUTHENTIC_DATA | dnsPacket.RECURSION_AVAILABLE,
  questions: [{ name: OWNER, type: "SRV" }],
  answers: [srv(OWNER, [1, 2, 443, "db1.example.test"], 30)],
  authorities: [soa("example.test", 5)],
  additionals: [
    a("db1.example.test", "192.0.2.1"),
    aaaa("db1.example.test", "2001:db8::1"),
    cname("x.test", "y.test"),
  ],
});

function message(wire: Buffer) {
  const decoded = decodeMessage(wire);
  assert.ok("message" in decoded, "fault" in decoded ? decoded.fault : "");
  return decoded.message;
}
function fault(wire: Buffer): string {
  const decoded = decodeMessage(wire);
  assert.ok("fault" in decoded, "decoded without a fault");
  return decoded.fault;
}
/** A response of one answer with this wire form of owner, type, class, TTL, length and data. */
function withAnswer(...parts: (Buffer | string)[]): Buffer {
  const header = Buffer.from("0001818000000001" + "00000000", "hex");
  return Buffer.concat([
    header,
    ...parts.map((part) => (typeof part === "string" ? Buffer.from(part, "hex") : part)),
  ]);
}

test("a query carries EDNS 1232 and its name's case", () => {
  const packet = dnsPacket.decode(encodeQuery(513, "wEb.TEST", "SRV", true));
  assert.equal(packet.id, 513);
  assert.deepEqual(packet.questions?.[0], { name: "wEb.TEST", type: "SRV", class: "IN" });
  const opt = packet.additionals?.[0];
  assert.ok(opt?.type === "OPT");
  assert.equal(opt.udpPayloadSize, EDNS_BYTES);
  assert.equal(dnsPacket.decode(encodeQuery(1, "web.test", "A", false)).additionals?.length, 0);
});

test("a response is read with its flags, sections and names in kept form", () => {
  const read = message(RICH);
  assert.equal(read.id, 7);
  assert.equal(read.authenticated, true);
  assert.equal(read.question?.name, OWNER);
  assert.deepEqual([...read.answers, ...read.authorities, ...read.additionals].map(formatRecord), [
    "_db._tcp.example.test. 30 IN SRV 1 2 443 db1.example.test.",
    "example.test. 3600 IN SOA (minimum 5)",
    "db1.example.test. 60 IN A 192.0.2.1",
    "db1.example.test. 60 IN AAAA 2001:db8::1",
    "x.test. 60 IN CNAME y.test.",
  ]);
});

test("every truncation of a valid answer is a fault", () => {
  for (let length = 0; length < RICH.length; length++) fault(RICH.subarray(0, length));
});

test("every truncation of an answer with TC is a message once the question is whole", () => {
  const wire = Buffer.from(RICH);
  wire.writeUInt16BE(wire.readUInt16BE(2) | dnsPacket.TRUNCATED_RESPONSE, 2);
  const questionEnd = 12 + OWNER.length + 2 + 4;
  for (let length = 0; length <= wire.length; length++) {
    assert.equal(
      "message" in decodeMessage(wire.subarray(0, length)),
      length >= questionEnd,
      `${length} bytes`,
    );
  }
});

test("every single-byte change of a valid answer is a message or a fault", () => {
  for (let at = 0; at < RICH.length; at++) {
    for (const value of [0, 1, 0x3f, 0x40, 0x80, 0xc0, 0xff]) {
      const wire = Buffer.from(RICH);
      wire[at] = value;
      decodeMessage(wire);
    }
  }
});

test("random bytes are a message or a fault", () => {
  for (let round = 0; round < 3000; round++) {
    const wire = randomBytes(12 + (round % 200));
    wire[2] = 0x81;
    wire[3] = 0x80;
    wire.writeUInt16BE(round % 2, 4);
    for (const at of [6, 8, 10]) wire.writeUInt16BE(round % 5, at);
    decodeMessage(wire);
  }
});

test("compression pointers that loop or lead forward are faults", () => {
  assert.match(fault(withAnswer("c00c", "00010001", "0000003c", "0004", "7f000001")), /leads forward/); // itself
  assert.match(fault(withAnswer("c00e", "c00c", "00010001", "0000003c", "0004", "7f000001")), /pointer/);
  assert.match(fault(withAnswer("c000", "00010001", "0000003c", "0004", "7f000001")), /pointer/); // the header
  assert.match(fault(withAnswer("41", "00010001", "0000003c", "0004", "7f000001")), /label/);
});

test("a staircase of pointers is refused, not walked", () => {
  const stairs = [Buffer.from("0000", "hex")];
  for (let step = 0; step < 2000; step++) {
    const pointer = Buffer.alloc(2);
    pointer.writeUInt16BE(0xc000 | (23 + step * 2));
    stairs.push(pointer);
  }
  const data = Buffer.concat(stairs);
  const length = Buffer.alloc(2);
  length.writeUInt16BE(data.length);
  const record = withAnswer("00", "00100001", "0000003c", length, data); // TXT: its data is not looked at
  record.writeUInt16BE(2, 6);
  const last = Buffer.alloc(2);
  last.writeUInt16BE(0xc000 | (record.length - 2));
  const wire = Buffer.concat([record, last, Buffer.from("000100010000003c00047f000001", "hex")]);
  assert.match(fault(wire), /too many compression pointers/);
});

test("lengths that lie are faults", () => {
  assert.match(fault(withAnswer("00", "00010001", "0000003c", "0005", "7f00000100")), /lies/);
  assert.match(fault(withAnswer("00", "00010001", "0000003c", "0003", "7f0000")), /lies/);
  assert.match(fault(withAnswer("00", "00010001", "0000003c", "0040", "7f000001")), /past the end/);
  assert.match(fault(withAnswer("00", "001c0001", "0000003c", "0004", "7f000001")), /lies/);
  assert.match(fault(withAnswer("00", "00210001", "0000003c", "0006", "000100010050", "016100")), /lies/);
});

test("a name of more than 255 octets is a fault", () => {
  const label = Buffer.concat([Buffer.from([63]), Buffer.alloc(63, "a")]);
  const name = Buffer.concat([label, label, label, label, Buffer.from([0])]);
  assert.match(fault(withAnswer(name, "00010001", "0000003c", "0004", "7f000001")), /255/);
});

test("records with names that are no host names are left out and counted", () => {
  const hostile = ["026100", "03612e62", "0322223b", "040d0a6162", "03ffffff"]; // NUL, dot inside, quotes, CRLF, not ASCII
  for (const label of hostile) {
    const read = message(withAnswer(`${label}00`, "00010001", "0000003c", "0004", "7f000001"));
    assert.deepEqual(read.answers, [], label);
    assert.equal(read.hostile, 1, label);
    const target = Buffer.from(`000100010050${label}00`, "hex");
    const length = Buffer.from([0, target.length]);
    assert.equal(message(withAnswer("0161", "00", "00210001", "0000003c", length, target)).hostile, 1, label);
  }
});

test("a record of another class is left out; unknown types are passed over", () => {
  assert.equal(message(withAnswer("0161", "00", "00010003", "0000003c", "0004", "7f000001")).hostile, 1);
  assert.deepEqual(message(withAnswer("0161", "00", "00410001", "0000003c", "0002", "ffff")).answers, []);
});

test("a TTL with the top bit set is 0", () => {
  for (const [ttl, seconds] of [
    ["7fffffff", 0x7fffffff],
    ["80000000", 0],
    ["ffffffff", 0],
  ] as const) {
    const read = message(withAnswer("0161", "00", "00010001", ttl, "0004", "7f000001"));
    assert.equal(read.answers[0]?.ttl, seconds);
  }
});

test("queries and other operations are no responses", () => {
  assert.match(fault(encodeQuery(1, "a.test", "A", false)), /query/);
  const notify = Buffer.from(RICH);
  notify[2] = 0xa0;
  assert.match(fault(notify), /standard/);
});
