/** A test file as a user without privileges, for what the kernel gives root without bounds. setpriv(1). */
import { spawnSync } from "node:child_process";
import { dirname } from "node:path";

/**
 * To be called first in a test file: as root, it runs the same file once more as the user `uid`, says what that says, and ends with it.
 * Returns only as that user, or with the reason why it cannot be. Of the user nothing else should run: the kernel counts by user.
 */
export function enterUser(file: string, uid: number): { readonly skip: string | false } {
  if (process.getuid?.() === uid) return { skip: false };
  const as = [`--reuid=${uid}`, `--regid=${uid}`, "--clear-groups", "--inh-caps=-all", "--bounding-set=-all"];
  if (process.getuid?.() !== 0 || spawnSync("setpriv", ["--version"]).status !== 0)
    return { skip: "needs root and setpriv" };
  if (spawnSync("setpriv", [...as, "test", "-r", file]).status !== 0)
    return { skip: `needs a checkout that other users may read: ${dirname(file)}` };
  const again = [...as, process.execPath, ...process.execArgv, file];
  process.exit(spawnSync("setpriv", again, { stdio: "inherit" }).status ?? 1);
}
