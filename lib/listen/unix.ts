/**
 * UNIX socket paths, portably: a path that a dead process left behind is taken over, one that a live process serves never is.
 */
import { lstatSync, unlinkSync } from "node:fs";
import { connect } from "node:net";
import { ProxyError } from "../errors.ts";

// sockaddr_un holds 108 bytes with the terminating NUL, unix(7).
const MAX_PATH_BYTES = 107;

/** Makes way for a listening socket of `who` at `path`. Rejects with ProxyError LISTEN and says what to do. */
export async function claimPath(path: string, who: string): Promise<void> {
  // Abstract names end with their process, unix(7).
  if (path.startsWith("@")) return;
  if (Buffer.byteLength(path) > MAX_PATH_BYTES) {
    throw new ProxyError(
      "LISTEN",
      `${who}: unix:${path} is longer than ${MAX_PATH_BYTES} bytes; choose a shorter path`,
    );
  }
  const found = lstatSync(path, { throwIfNoEntry: false });
  if (found === undefined) return;
  if (!found.isSocket()) {
    throw new ProxyError(
      "LISTEN",
      `${who}: unix:${path} exists and is no socket; remove it or choose another path`,
    );
  }
  if (await answers(path)) {
    throw new ProxyError(
      "LISTEN",
      `${who}: unix:${path} is served by another process; stop it or choose another path`,
    );
  }
  unlinkSync(path);
}

function answers(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect({ path });
    socket.once("connect", () => {
      socket.destroy();
      resolve(true);
    });
    // Refused: the file outlived its process. Anything else (no permission, a full queue): somebody may be there.
    socket.once("error", (error: NodeJS.ErrnoException) => resolve(error.code !== "ECONNREFUSED"));
  });
}
