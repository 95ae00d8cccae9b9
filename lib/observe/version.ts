/** The version of this package, from the nearest package.json above: the build lies one folder deeper than the sources. */
import { existsSync, readFileSync } from "node:fs";

function find(folder: URL): string {
  const file = new URL("package.json", folder);
  if (existsSync(file)) return (JSON.parse(readFileSync(file, "utf8")) as { version: string }).version;
  const above = new URL("..", folder);
  return above.href === folder.href ? "unknown" : find(above);
}

export const version: string = find(new URL(".", import.meta.url));
