/** Where the package lies, from compiled tests too: the nearest folder above with a package.json and the sources. */
import { existsSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

function find(from: string): string {
  if (existsSync(join(from, "package.json")) && existsSync(join(from, "tsconfig.json"))) return from;
  const above = dirname(from);
  if (above === from) throw new Error("no package.json above the tests");
  return find(above);
}

export const packageRoot = find(dirname(fileURLToPath(import.meta.url)));
/** The compiled command line. */
export const millrace = join(packageRoot, "dist/lib/main.js");
