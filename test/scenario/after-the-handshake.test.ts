/**
 * Ensures that what TLS has behind a handshake does no harm: renegotiation is refused in TLS 1.2, keys are updated in TLS 1.3 as often
 * as the client likes, and an alert by which a client refuses us is named in the line.
 */
import assert from "node:assert/strict";
import { join } from "node:path";
import { directoryWith, strangeAuthority } from "../gear/certificates.ts";
import { edge, TERMINATE } from "../gear/edge.ts";
import { ended } from "../gear/peers.ts";
import { needs } from "../gear/programs.ts";
import { SClientSession, sClient } from "../gear/s-client.ts";
import { type Scene, type Stage, scenario, TRANSPORTS } from "../gear/scene.ts";

async function echoing(scene: Scene): Promise<Stage> {
  const service = await scene.service((socket) => {
    socket.on("data", (chunk: Buffer) => socket.write(`heard ${chunk}`));
    socket.on("end", () => socket.end());
  });
  return edge(scene, service, [TERMINATE]);
}

function session(scene: Scene, stage: Stage, args: readonly string[]): SClientSession {
  const one = new SClientSession(stage.port("in"), args);
  scene.onClose(() => one.kill());
  return one;
}

scenario(
  "renegotiation is refused in TLS 1.2",
  async (scene) => {
    const stage = await echoing(scene);
    const client = session(scene, stage, ["-tls1_2"]);
    client.type("before");
    await client.prints(/^heard before$/m);
    client.type("R");
    await client.closed;
    assert.match(client.output, /RENEGOTIATING/);
    assert.match(client.output, /no renegotiation/i);
    const [line] = await ended(stage, 1);
    // What the client makes of the refusal is its own affair: openssl gives up.
    assert.equal(line!.reason, "client_reset");
    assert.match(line!.error!, /the peer sent alert 40, handshake_failure/);
    assert.equal(line!.bytes_up, "before\n".length);
  },
  TRANSPORTS,
  needs("openssl"),
);

scenario(
  "keys are updated in TLS 1.3",
  async (scene) => {
    const stage = await echoing(scene);
    const client = session(scene, stage, ["-tls1_3"]);
    for (const [round, command] of ["k", "K", "K", "k"].entries()) {
      client.type(command);
      await client.prints(new RegExp(`(?:KEYUPDATE[\\s\\S]*){${round + 1}}`));
      client.type(`round ${round}`);
      await client.prints(new RegExp(`^heard round ${round}$`, "m"));
    }
    client.type("Q");
    await client.closed;
    const [line] = await ended(stage, 1);
    assert.equal(line!.reason, "ok", line!.error);
    assert.equal(line!.bytes_up, 4 * "round 0\n".length);
  },
  TRANSPORTS,
  needs("openssl"),
);

scenario(
  "a client that refuses our certificate is quoted by its alert",
  async (scene) => {
    const stage = await echoing(scene);
    const files = directoryWith({ ca: (await strangeAuthority()).cert });
    scene.onClose(files.remove);
    for (const version of ["-tls1_2", "-tls1_3"]) {
      await sClient(stage.port("in"), [version, "-CAfile", join(files.path, "ca"), "-verify_return_error"]);
      const [line] = await ended(stage, 1);
      assert.equal(line!.reason, "handshake_failed");
      assert.match(line!.error!, /the peer sent alert 48, unknown_ca$/);
    }
  },
  TRANSPORTS,
  needs("openssl"),
);
