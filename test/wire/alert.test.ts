/** Alerts in the clear and sealed, as real peers understand them. */
import assert from "node:assert/strict";
import { spawn, spawnSync } from "node:child_process";
import { createDecipheriv } from "node:crypto";
import { once } from "node:events";
import net from "node:net";
import { type TestContext, test } from "node:test";
import tls from "node:tls";
import { ALERT, alertName, plainAlert, sealAlert13 } from "../../lib/wire/alert.ts";

const missing = spawnSync("openssl", ["version"]).status === 0 ? false : "openssl is not installed";
const CIPHERS = ["TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256"];

test("every number has one name and every name its number", () => {
  for (const [name, number] of Object.entries(ALERT)) assert.equal(alertName(number), name);
  assert.equal(alertName(200), "alert 200");
  assert.deepEqual(
    [ALERT.unrecognized_name, ALERT.access_denied, ALERT.record_overflow, ALERT.no_application_protocol],
    [112, 49, 22, 120],
  );
});

test("a plain alert is one fatal record, close_notify a warning", () => {
  assert.deepEqual([...plainAlert(ALERT.unrecognized_name)], [21, 3, 3, 0, 2, 2, 112]);
  assert.deepEqual([...plainAlert(ALERT.close_notify)], [21, 3, 3, 0, 2, 1, 0]);
});

test("a cipher that is not known seals nothing", () => {
  const options = {
    secret: new Uint8Array(32),
    cipher: "ECDHE-RSA-AES128-GCM-SHA256",
    sequence: 0,
    alert: 49,
  };
  assert.equal(sealAlert13(options), null);
});

// RFC 8448 section 3: the server's application traffic secret and the key and IV made of it.
test("keys come from the secret as RFC 8448 has them, whatever the sequence number", () => {
  const secret = Buffer.from("a11af9f05531f856ad47116b45a950328204b4f44bfb6b3a4b4f1f3fcb631643", "hex");
  const key = Buffer.from("9f02283b6c9c07efc26bb9f2ac92e356", "hex");
  for (const sequence of [0, 1, 2 ** 32 - 1, 2 ** 32 + 5, 2 ** 50 + 3]) {
    const sealed = sealAlert13({ secret, cipher: "TLS_AES_128_GCM_SHA256", sequence, alert: 116 })!;
    const nonce = Buffer.from("cf782b88dd83549aadf1e984", "hex");
    const mask = Buffer.alloc(12);
    mask.writeBigUInt64BE(BigInt(sequence), 4);
    const opener = createDecipheriv(
      "aes-128-gcm",
      key,
      nonce.map((byte, i) => byte ^ mask[i]!),
    );
    opener.setAAD(sealed.subarray(0, 5));
    opener.setAuthTag(sealed.subarray(-16));
    const inner = Buffer.concat([opener.update(sealed.subarray(5, -16)), opener.final()]);
    assert.deepEqual([...inner], [2, 116, 21]);
    assert.deepEqual([...sealed.subarray(0, 5)], [23, 3, 3, 0, 19]);
  }
});

test("openssl s_client reports a plain alert in answer to its hello", { skip: missing }, async (t) => {
  const listener = net.createServer((socket) => {
    socket.on("error", () => {});
    socket.once("data", () => socket.end(plainAlert(ALERT.unrecognized_name)));
  });
  t.after(() => listener.close());
  const port = await listening(listener);
  assert.match(await sClient(t, port), /unrecognized name[\s\S]*alert number 112/);
});

for (const cipher of CIPHERS) {
  test(`a client reports an alert sealed with ${cipher} behind the session tickets`, {
    skip: missing,
  }, async (t) => {
    const { port, secret, sockets } = await terminating(t, cipher);
    sockets.then(async ({ raw, secure }) => {
      await once(secure, "secure");
      // Node says so from inside the handshake call: what that call wrote has not reached the socket yet.
      await new Promise(setImmediate);
      // Two NewSessionTickets go out behind the server's Finished (SSL_CTX_set_num_tickets(3)).
      const alert = sealAlert13({
        secret: await secret("SERVER"),
        cipher,
        sequence: 2,
        alert: ALERT.access_denied,
      });
      raw.end(alert!);
    });
    assert.match(await sClient(t, port), /access denied[\s\S]*alert number 49/);
  });

  test(`a server reports an alert that a client sealed with ${cipher}`, { skip: missing }, async (t) => {
    const { port, sockets } = await terminating(t, cipher);
    const raw = net.connect(port, "127.0.0.1");
    t.after(() => raw.destroy());
    raw.on("error", () => {});
    const client = tls.connect({ socket: raw, rejectUnauthorized: false });
    client.on("error", () => {});
    const secret = await keyOf(client, "CLIENT");
    const { secure } = await sockets;
    await once(secure, "secure"); // then the client's Finished is on its way for certain
    const failed = once(secure, "_tlsError");
    raw.write(sealAlert13({ secret, cipher, sequence: 0, alert: ALERT.certificate_expired })!);
    const [error] = (await failed) as [Error];
    assert.match(error.message, /alert number 45/);
  });
}

async function listening(listener: net.Server): Promise<number> {
  listener.listen(0, "127.0.0.1");
  await once(listener, "listening");
  return (listener.address() as net.AddressInfo).port;
}

/** Output of one `openssl s_client` run against a port of this machine. */
async function sClient(t: TestContext, port: number): Promise<string> {
  const child = spawn("openssl", ["s_client", "-connect", `127.0.0.1:${port}`, "-tls1_3", "-ign_eof"]);
  t.after(() => child.kill());
  let output = "";
  child.stdout.on("data", (chunk) => (output += chunk));
  child.stderr.on("data", (chunk) => (output += chunk));
  await once(child, "close");
  return output;
}

/** The application traffic secret of one side, from the keylog of one end. */
function keyOf(socket: tls.TLSSocket, side: "CLIENT" | "SERVER"): Promise<Buffer> {
  return new Promise((resolve) => {
    socket.on("keylog", (line) => {
      const [label, , secret] = line.toString("latin1").trim().split(" ");
      if (label === `${side}_TRAFFIC_SECRET_0`) resolve(Buffer.from(secret!, "hex"));
    });
  });
}

interface Sockets {
  readonly raw: net.Socket;
  readonly secure: tls.TLSSocket;
}

/** A TLS 1.3 endpoint whose raw socket and secrets the test can lay hands on. */
async function terminating(t: TestContext, cipher: string) {
  const pem = spawnSync("openssl", [
    ...["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", "/CN=x"],
    ...["-keyout", "-", "-out", "-"],
  ]).stdout.toString();
  const secureContext = tls.createSecureContext({
    cert: pem,
    key: pem,
    ciphers: cipher,
    minVersion: "TLSv1.3",
  });
  let keys: Promise<Record<"SERVER" | "CLIENT", Buffer>>;
  const listener = net.createServer();
  t.after(() => listener.close());
  const sockets = new Promise<Sockets>((resolve) => {
    listener.once("connection", (raw) => {
      t.after(() => raw.destroy());
      raw.on("error", () => {});
      const secure = new tls.TLSSocket(raw, { isServer: true, secureContext });
      secure.on("error", () => {});
      secure.resume();
      keys = Promise.all([keyOf(secure, "SERVER"), keyOf(secure, "CLIENT")]).then(([SERVER, CLIENT]) => ({
        SERVER,
        CLIENT,
      }));
      resolve({ raw, secure });
    });
  });
  const secret = async (side: "SERVER" | "CLIENT"): Promise<Buffer> => (await keys)[side];
  return { port: await listening(listener), sockets, secret };
}
