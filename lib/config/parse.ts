/**
 * The door of this room: text, file or value in, `Config` out. Whatever comes in, the answer is a `Config` or one
 * `ProxyError("CONFIG")` that lists every fault with its place and says what would be right; never another exception,
 * never half a configuration. The order: syntax, then form (schema), then sense (checks), then what this version lacks.
 */
import { readFileSync } from "node:fs";
import { dirname, resolve } from "node:path";
import type { z } from "zod";
import { type ConfigFault, ProxyError } from "../errors.ts";
import { checkEntries } from "./checks.ts";
import { checkCoherence } from "./coherence.ts";
import type { Config } from "./config.ts";
import { readDocument, readValue, type Tree } from "./document.ts";
import { explainIssues, valueAt } from "./explain.ts";
import { FaultList, type Path, Places } from "./faults.ts";
import { toConfig } from "./normalize.ts";
import { takeApart } from "./parts.ts";
import { type ConfigInput, configSchema } from "./schema.ts";
import { refuseUnavailable } from "./unavailable.ts";
import type { Environment } from "./variables.ts";
import { findWarnings, type Warning } from "./warnings.ts";

export { formatFault, formatFaults } from "./faults.ts";
export { type ConfigInput, configJsonSchema } from "./schema.ts";

export interface ParseOptions {
  /** Named in faults and kept in the `Config` as an absolute path; null or absent where there is none. */
  readonly file?: string | null;
  /** What `${VAR}` means; the process's own environment when absent. */
  readonly env?: Environment;
  /** What relative paths are relative to; the file's directory, else the current one, when absent. */
  readonly directory?: string;
}

/** For `configWarnings`: a `Config` itself has no lines. */
const placesOf = new WeakMap<Config, Places>();

/** Reads YAML text. Throws `ProxyError("CONFIG")` with all faults. */
export function parseConfig(text: string, options: ParseOptions = {}): Config {
  const file = options.file ?? null;
  const directory = options.directory ?? (file === null ? "." : dirname(file));
  return guarded(file, () => {
    const tree = readDocument(text, file, options.env ?? process.env);
    return accept(tree, file, directory);
  });
}

/** Reads a file. Throws `ProxyError("CONFIG")`, also where it cannot be read. */
export function loadConfig(file: string, env?: Environment): Config {
  let bytes: Buffer;
  try {
    bytes = readFileSync(file);
  } catch (cause) {
    throw refusal(file, `cannot be read: ${(cause as Error).message}`, cause);
  }
  let text: string;
  try {
    text = new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  } catch (cause) {
    throw refusal(file, "must be text in UTF-8", cause);
  }
  return parseConfig(text, env === undefined ? { file } : { file, env });
}

/** Takes a value that a program built: the same rules and defaults as for a file. Throws `ProxyError("CONFIG")`. */
export function normalizeConfig(input: ConfigInput, options: Omit<ParseOptions, "file"> = {}): Config {
  return guarded(null, () =>
    accept(readValue(input, options.env ?? process.env), null, options.directory ?? "."),
  );
}

/** What is accepted and yet probably not meant: unused entries, settings without effect. Written like faults. */
export function configWarnings(config: Config): ConfigFault[] {
  return located(config, findWarnings(config));
}

/** What was found of entries of an accepted configuration, with the places of their keys, in the order of the text. */
export function located(config: Config, found: readonly Warning[]): ConfigFault[] {
  const list = new FaultList(config.file, placesOf.get(config) ?? new Places());
  for (const { path, message } of found) list.add(path, message, "key");
  return list.sorted();
}

function accept(tree: Tree, file: string | null, directory: string): Config {
  const { faults } = tree;
  if (tree.value === undefined) faults.throwIfAny();
  faults.nextPhase();
  const raw = typedVariables(tree);
  const read = configSchema.safeParse(raw);
  if (!read.success) explainIssues(read.error.issues, raw, faults);
  faults.nextPhase();
  const parts = takeApart(raw);
  const absolute = resolve(directory);
  checkEntries(parts, absolute, faults);
  checkCoherence(parts, faults);
  refuseUnavailable(raw, faults);
  faults.throwIfAny();
  if (!read.success) throw new Error("the schema refused what no fault explains");
  const config = toConfig(read.data, file === null ? null : resolve(file), absolute);
  placesOf.set(config, tree.places);
  return config;
}

/**
 * A variable brings text, and `workers: ${WORKERS}` means a number: where the schema wants something else than the text
 * that a variable brought, the text is taken as YAML would take it.
 */
function typedVariables(tree: Tree): unknown {
  if (tree.expanded.length === 0) return tree.value;
  const read = configSchema.safeParse(tree.value);
  if (read.success) return tree.value;
  const wrong = new Set(wrongPaths(read.error.issues, []).map((path) => JSON.stringify(path)));
  for (const path of tree.expanded) {
    if (wrong.has(JSON.stringify(path))) retype(tree.value, path);
  }
  return tree.value;
}

/** Where issues are; of a union also where each of its alternatives has them. */
function wrongPaths(issues: readonly z.core.$ZodIssue[], base: readonly PropertyKey[]): PropertyKey[][] {
  return issues.flatMap((issue) => {
    const path = [...base, ...issue.path];
    const inner = issue.code === "invalid_union" ? wrongPaths(issue.errors.flat(), path) : [];
    return [path, ...inner];
  });
}

function retype(root: unknown, path: Path): void {
  const around = valueAt(root, path.slice(0, -1)) as Record<string | number, unknown>;
  const step = path.at(-1);
  const text = step === undefined ? undefined : around[step];
  if (step === undefined || typeof text !== "string") return;
  if (/^-?\d{1,15}(?:\.\d{1,15})?$/.test(text)) around[step] = Number(text);
  else if (text === "true" || text === "false") around[step] = text === "true";
}

function guarded(file: string | null, work: () => Config): Config {
  try {
    return work();
  } catch (error) {
    if (error instanceof ProxyError) throw error;
    throw refusal(
      file,
      `cannot be understood: ${error instanceof Error ? error.message : String(error)}`,
      error,
    );
  }
}

function refusal(file: string | null, message: string, cause: unknown): ProxyError {
  const fault: ConfigFault = { file, line: null, column: null, path: "", message };
  return new ProxyError("CONFIG", `${file ?? "the configuration"}: ${message}`, { faults: [fault], cause });
}
