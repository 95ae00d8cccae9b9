/**
 * Finding programs and asking them what they are. Never throws: a program that is missing or will not answer is null.
 */
import { spawnSync } from "node:child_process";
import { accessSync, constants, existsSync, statSync } from "node:fs";
import { delimiter, dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

/** Debian keeps daemons where an ordinary user's PATH does not look. */
const DAEMONS = ["/usr/sbin", "/usr/local/sbin", "/sbin"];

/** The PATH with the daemons' folders. */
export function searchPath(): string {
  return [process.env["PATH"] ?? "", ...DAEMONS].join(delimiter);
}

export function which(name: string): string | null {
  const folders = name.includes("/") ? [""] : searchPath().split(delimiter);
  for (const folder of folders) {
    const path = folder === "" ? name : join(folder, name);
    try {
      accessSync(path, constants.X_OK);
      if (statSync(path).isFile()) return path;
    } catch {
      // not here
    }
  }
  return null;
}

/** Both outputs of a command that ends by itself; null when it cannot be run. */
export function ask(command: string, ...args: string[]): string | null {
  const result = spawnSync(command, args, { encoding: "utf8", timeout: 10_000 });
  return result.error ? null : `${result.stdout}${result.stderr}`;
}

/** The first match of `pattern` in what the command says. */
export function version(pattern: RegExp, command: string, ...args: string[]): string {
  return pattern.exec(ask(command, ...args) ?? "")?.[1] ?? "unknown";
}

/** The folder of the nearest package.json above this file. */
export function packageRoot(): string {
  let folder = dirname(fileURLToPath(import.meta.url));
  while (!existsSync(join(folder, "package.json")) && dirname(folder) !== folder) folder = dirname(folder);
  return folder;
}

/** Where the C sources and stored results are: beside the package, or in the working directory for a copied build. */
export function benchFolder(): string {
  for (const folder of [join(packageRoot(), "native-bench"), join(process.cwd(), "native-bench")]) {
    if (existsSync(join(folder, "load.c"))) return folder;
  }
  return join(packageRoot(), "native-bench");
}

/** A compiled script of this folder. */
export function script(name: string): string {
  return fileURLToPath(new URL(name, import.meta.url));
}
