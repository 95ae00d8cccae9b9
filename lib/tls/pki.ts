/**
 * What `millrace pki init` and `millrace pki issue` do to a directory: `ca.crt`, `ca.key`, `NAME.crt`, `NAME.key`. Keys are
 * written for their owner only, and nothing is ever overwritten unless told so: a lost CA key cannot be brought back.
 */
import { chmod, mkdir, readFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { ProxyError } from "../errors.ts";
import { Authority, type AuthorityOptions, type LeafOptions, type Pair } from "./authority.ts";

export const PKI_DIRECTORY = "./pki";

export interface PkiFiles {
  readonly cert: string;
  readonly key: string;
}

export interface WriteOptions {
  readonly directory?: string;
  readonly force?: boolean;
}

/** Makes a CA and writes it. Rejects with ProxyError USAGE where one is there already and `force` is not set. */
export async function initPki(options: WriteOptions & AuthorityOptions = {}): Promise<PkiFiles> {
  const { directory = PKI_DIRECTORY, force = false } = options;
  await mkdir(directory, { recursive: true, mode: 0o755 });
  return write(directory, "ca", await Authority.create(options), force);
}

/** Issues a leaf from the directory's CA and writes it as NAME.crt and NAME.key. */
export async function issueLeaf(name: string, options: WriteOptions & LeafOptions = {}): Promise<PkiFiles> {
  const { directory = PKI_DIRECTORY, force = false } = options;
  if (!/^[A-Za-z0-9_][A-Za-z0-9._-]*$/.test(name) || name === "ca") {
    throw new ProxyError("USAGE", `${JSON.stringify(name)} cannot be used as a file name for a certificate`);
  }
  const authority = await Authority.open({
    cert: await read(join(directory, "ca.crt")),
    key: await read(join(directory, "ca.key")),
  });
  return write(directory, name, await authority.issue({ commonName: name, ...options }), force);
}

/** Writes the list of these certificates (files) as ca.crl; each call replaces the list before. */
export async function revokeLeaves(
  paths: readonly string[],
  directory: string = PKI_DIRECTORY,
): Promise<string> {
  const authority = await Authority.open({
    cert: await read(join(directory, "ca.crt")),
    key: await read(join(directory, "ca.key")),
  });
  const path = join(directory, "ca.crl");
  await writeFile(path, await authority.revoke(await Promise.all(paths.map(read))));
  return path;
}

async function read(path: string): Promise<string> {
  try {
    return await readFile(path, "utf8");
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    const advice =
      code === "ENOENT"
        ? "no such file; make a CA first with: millrace pki init"
        : `cannot be read (${code})`;
    throw new ProxyError("USAGE", `${path}: ${advice}`);
  }
}

async function write(directory: string, name: string, pair: Pair, force: boolean): Promise<PkiFiles> {
  const files = { cert: join(directory, `${name}.crt`), key: join(directory, `${name}.key`) };
  // The key first: where it may not be written, no certificate without a key is left behind.
  await place(files.key, pair.key, 0o600, force);
  try {
    await place(files.cert, pair.cert, 0o644, force);
  } catch (error) {
    if (!force) await rm(files.key);
    throw error;
  }
  return files;
}

async function place(path: string, text: string, mode: number, force: boolean): Promise<void> {
  try {
    // `mode` holds for a new file only, so an old one is narrowed before the key goes into it.
    if (force) await chmod(path, mode).catch(() => {});
    await writeFile(path, text, { mode, flag: force ? "w" : "wx" });
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    const advice =
      code === "EEXIST" ? "exists already; add --force to replace it" : `cannot be written (${code})`;
    throw new ProxyError("USAGE", `${path}: ${advice}`);
  }
}
