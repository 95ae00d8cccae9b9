/**
 * Puts this package's own command where `npx millrace` finds it in a checkout: npm links the commands of dependencies, not those of
 * the package itself. Part of `prepare`, so `npm ci` does it.
 */
import { chmodSync, mkdirSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";

const root = new URL("../../", import.meta.url);
const bin = fileURLToPath(new URL("node_modules/.bin/", root));
const main = fileURLToPath(new URL("dist/lib/main.js", root));

mkdirSync(bin, { recursive: true });
chmodSync(main, 0o755);
if (process.platform === "win32") {
  writeFileSync(`${bin}millrace.cmd`, `@node "${main}" %*\r\n`);
} else {
  rmSync(`${bin}millrace`, { force: true });
  symlinkSync("../../dist/lib/main.js", `${bin}millrace`);
}
