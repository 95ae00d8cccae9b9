/** Keeps the rooms: imports go downhill, pointers stay in `ffi`, the data path knows no promise and no dependency but koffi. */
import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { dirname, join, normalize } from "node:path";
import { test } from "node:test";
import { packageRoot } from "./gear/root.ts";

const LIB = join(packageRoot, "lib");

/** Rooms from the top of the hill to its foot. A room may import from rooms with a higher number, and from itself. */
const LEVEL: Readonly<Record<string, number>> = {
  main: 0,
  cli: 1,
  index: 1,
  proxy: 3,
  // What the control plane is made of: rooms side by side, which do not know each other.
  admin: 4,
  clusters: 4,
  identities: 4,
  rows: 4,
  sockets: 4,
  workers: 4,
  thread: 5,

  worker: 6,
  connection: 7,
  generations: 7,
  generation: 8,
  observe: 8,
  // Stations. `transport` stands above the others because its TLS judges peers with tls/.
  transport: 9,
  listen: 10,
  route: 10,
  cluster: 10,
  dns: 10,
  service: 10,
  tls: 11,
  ffi: 12,
  // Cupboards.
  config: 12,
  wire: 13,
  timing: 13,
  errors: 14,
};

/** What is written in one room against another's types only, so that the port has one home. */
const TYPES_ONLY = new Set(["transport/transport", "config/config", "errors", "workers"]);

interface Import {
  readonly file: string;
  readonly from: string;
  readonly typeOnly: boolean;
}

const files = readdirSync(LIB, { recursive: true, encoding: "utf8" }).filter((file) => file.endsWith(".ts"));
const sources = new Map(files.map((file) => [file, readFileSync(join(LIB, file), "utf8")]));

function roomOf(file: string): string {
  return file.includes("/") ? file.slice(0, file.indexOf("/")) : file.replace(/\.ts$/, "");
}

function* imports(): Generator<Import> {
  for (const [file, source] of sources) {
    for (const match of source.matchAll(/^(?:import|export)\s+(type\s)?[^;]*?from\s+"([^"]+)";/gms)) {
      yield { file, from: match[2]!, typeOnly: match[1] !== undefined };
    }
  }
}

test("every room has its place on the hill", () => {
  for (const file of files) assert(roomOf(file) in LEVEL, `${file}: ${roomOf(file)} is no room`);
});

test("imports go downhill", () => {
  for (const { file, from, typeOnly } of imports()) {
    if (!from.startsWith(".")) continue;
    const target = normalize(join(dirname(file), from));
    if (typeOnly && TYPES_ONLY.has(target.replace(/\.ts$/, ""))) continue;
    const [room, other] = [roomOf(file), roomOf(target)];
    assert(
      room === other || LEVEL[room]! < LEVEL[other]!,
      `${file} imports ${target}, which lies uphill or beside it`,
    );
  }
});

test("only transport/epoll, service and listen touch ffi", () => {
  for (const { file, from } of imports()) {
    if (!from.includes("/ffi/") || file.startsWith("ffi/")) continue;
    assert.match(file, /^(transport\/epoll|service|listen)\//, `${file} imports ${from}`);
  }
});

test("pointers stay in ffi: nobody else imports koffi", () => {
  for (const { file, from } of imports()) if (from === "koffi") assert.match(file, /^ffi\//, file);
});

const DATA_PATH =
  /^(transport\/epoll|wire|timing|route)\/|^(connection|worker|generations?|errors)\.ts$|^tls\/(rules|authorise|peer)\.ts$|^cluster\/(balancer|pool|endpoint)\.ts$/;

test("the data path knows no promise, no Node timer and no package", () => {
  for (const [file, source] of sources) {
    if (!DATA_PATH.test(file)) continue;
    const code = source.replace(/\/\*[\s\S]*?\*\/|\/\/.*$/gm, "");
    assert.doesNotMatch(code, /\bawait\b|\bPromise\b|\bsetTimeout\b|\bsetInterval\b|\bsetImmediate\b/, file);
  }
  for (const { file, from } of imports()) {
    if (!DATA_PATH.test(file) || from.startsWith(".")) continue;
    assert(from.startsWith("node:"), `${file} imports ${from}`);
  }
});

test("only main.ts and its commands may end the process", () => {
  for (const [file, source] of sources) {
    if (/^(main\.ts|cli\/)/.test(file)) continue;
    assert.doesNotMatch(source, /process\.exit\(/, file);
  }
});

test("names of the trade only", () => {
  for (const file of files) {
    assert.doesNotMatch(file, /manager|handler|helper|util|common|misc/i);
  }
});
