/**
 * OpenSSL through the FFI: that it is there, that its numbers are ours, and that what we know of libssl's inside still holds.
 */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { test } from "node:test";
import { Worker } from "node:worker_threads";
import { bind } from "../../lib/ffi/library.ts";
import { openssl, probeOpenssl } from "../../lib/ffi/openssl.ts";
import { libraryOf, reasonOf, SSL_R } from "../../lib/ffi/openssl-errors.ts";
import { resultFor } from "../../lib/transport/epoll/tls-failure.ts";
import { ALERT } from "../../lib/wire/alert.ts";

const here = new URL(import.meta.url);

test("OpenSSL can be called here, and is the one of node:tls", () => {
  assert.equal(probeOpenssl(), null);
  const { version } = openssl();
  const [major, minor, patch] = (process.versions.openssl ?? "")
    .split(".")
    .map((part) => Number.parseInt(part, 10));
  assert.equal(version >>> 28, major);
  assert.equal((version >>> 20) & 0xff, minor);
  assert.equal((version >>> 4) & 0xff, patch);
});

test("pinned memory is where its address says", () => {
  const lib = openssl();
  const block = lib.pin(100);
  block.bytes.write("stays here");
  assert.equal(block.bytes.length, 100);
  assert.equal(lib.copy(block.address, 10).toString(), "stays here");
});

test("reason codes have the words that our names promise", () => {
  const lib = openssl();
  // ERR_PACK(3): library 20 is SSL.
  const words = (reason: number) => lib.ERR_reason_error_string(((20 << 23) | reason) >>> 0);
  for (const [name, reason] of Object.entries(SSL_R)) {
    if (name === "ALERT") continue;
    assert.equal(words(reason), name.toLowerCase().replaceAll("_", " "), name);
    assert.equal(libraryOf(((20 << 23) | reason) >>> 0), 20);
    assert.equal(reasonOf(((20 << 23) | reason) >>> 0), reason);
  }
  assert.match(words(SSL_R.ALERT + ALERT.unknown_ca) ?? "", /unknown ca/);
});

test("libssl answers each verification result with the alert that we want of it", () => {
  // Not a documented function: production code relies on its outcome, this test on its name.
  const alertOf = bind("ssl_x509err2alert", "int", ["int"]);
  for (const alert of [
    ALERT.bad_certificate,
    ALERT.unsupported_certificate,
    ALERT.certificate_revoked,
    ALERT.certificate_expired,
    ALERT.certificate_unknown,
    ALERT.unknown_ca,
    ALERT.decrypt_error,
    ALERT.handshake_failure,
    ALERT.internal_error,
  ]) {
    assert.equal(alertOf(resultFor(alert)), alert, `alert ${alert}`);
  }
  assert.equal(alertOf(resultFor(undefined)), ALERT.certificate_unknown);
});

test("every thread has functions and callbacks of its own", async () => {
  const module = new URL("../../lib/ffi/openssl.js", here).href;
  const worker = new Worker(
    `import(${JSON.stringify(module)})
       .then(({ probeOpenssl }) => require("node:worker_threads").parentPort.postMessage(probeOpenssl()))`,
    { eval: true },
  );
  const answer = await new Promise((resolve, reject) => {
    worker.once("message", resolve);
    worker.once("error", reject);
  });
  assert.equal(answer, null);
  await worker.terminate();
});

test("where it cannot be called the probe says why, and does not throw", () => {
  const module = new URL("../../lib/ffi/openssl.js", here).href;
  const run = (prelude: string) =>
    spawnSync(
      process.execPath,
      [
        "--input-type=module",
        "--eval",
        `${prelude}; const { probeOpenssl } = await import(${JSON.stringify(module)}); console.log(probeOpenssl());`,
      ],
      { encoding: "utf8" },
    ).stdout;
  assert.match(run('Object.defineProperty(process, "arch", { value: "mips" })'), /the CPU is mips/);
  assert.match(
    run(
      'import Module from "node:module"; const load = Module._load; Module._load = (name, ...rest) => { if (name === "koffi") throw new Error("absent"); return load(name, ...rest); }',
    ),
    /koffi does not load/,
  );
});
