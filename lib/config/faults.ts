/**
 * Faults of a configuration on their way to the operator: where a path of the configuration stands in its text, what
 * was found there, which known word was probably meant, and the lines that a terminal shows. One fault per path: what
 * a later look says about a place that is already known to be wrong would only be noise.
 */
import { type ConfigFault, ProxyError } from "../errors.ts";

export type Path = readonly (string | number)[];

/** Line and column, both from 1. */
export interface Place {
  readonly line: number;
  readonly column: number;
}

/** Where each path stands in the text. Empty for a configuration that a program built. */
export class Places {
  readonly #values = new Map<string, Place>();
  readonly #keys = new Map<string, Place>();

  set(path: Path, value: Place, key?: Place): void {
    this.#values.set(keyOf(path), value);
    if (key !== undefined) this.#keys.set(keyOf(path), key);
  }

  /** Of the key at `path` (or its value, when `part` says so), else of the nearest thing around it. */
  at(path: Path, part: "key" | "value"): Place | null {
    for (let length = path.length; length >= 0; length--) {
      const key = keyOf(path.slice(0, length));
      const value = this.#values.get(key);
      const found = length === path.length && part === "key" ? (this.#keys.get(key) ?? value) : value;
      if (found !== undefined) return found;
    }
    return null;
  }
}

function keyOf(path: Path): string {
  return path.join("\u0000");
}

/** Collects faults with their places. */
export class FaultList {
  readonly #file: string | null;
  readonly #places: Places;
  readonly #faults: ConfigFault[] = [];
  readonly #wrong = new Set<string>();
  readonly #wrongNow = new Set<string>();

  constructor(file: string | null, places: Places) {
    this.#file = file;
    this.#places = places;
  }

  get size(): number {
    return this.#faults.length;
  }

  /** Adds a fault, unless an earlier phase found one at the same path. */
  add(path: Path, message: string, part: "key" | "value" = "value"): void {
    this.addAt(path, message, this.#places.at(path, part));
  }

  addAt(path: Path, message: string, place: Place | null): void {
    if (this.#wrong.has(keyOf(path))) return;
    this.#wrongNow.add(keyOf(path));
    this.#faults.push({
      file: this.#file,
      line: place?.line ?? null,
      column: place?.column ?? null,
      path: formatPath(path),
      message: printable(message),
    });
  }

  /** Begins the next phase: from here on the places known to be wrong stay silent. */
  nextPhase(): void {
    for (const key of this.#wrongNow) this.#wrong.add(key);
    this.#wrongNow.clear();
  }

  /** All faults in the order of the text. */
  sorted(): ConfigFault[] {
    return this.#faults.toSorted(
      (a, b) => (a.line ?? 0) - (b.line ?? 0) || (a.column ?? 0) - (b.column ?? 0),
    );
  }

  /** Throws all faults as one error; returns when there are none. */
  throwIfAny(): void {
    const first = this.sorted()[0];
    if (first === undefined) return;
    const where = this.#file ?? "the configuration";
    const what = `${first.line === null ? "" : `line ${first.line}: `}${sentence(first)}`;
    const message =
      this.size === 1 ? `${where}: ${what}` : `${where} has ${this.size} faults, the first: ${what}`;
    throw new ProxyError("CONFIG", message, { faults: this.sorted() });
  }
}

/** `listeners[0].routes[1].cluster`; keys that would be hard to read are quoted. */
export function formatPath(path: Path): string {
  let text = "";
  for (const step of path) {
    if (typeof step === "number") text += `[${step}]`;
    else if (!/^[\w-]{1,128}$/.test(step)) text += `[${quote(step)}]`;
    else text += text === "" ? step : `.${step}`;
  }
  return text;
}

/** Text of unknown origin, short and without control characters. */
export function quote(text: string): string {
  const short = text.length > 60 ? `${text.slice(0, 57)}...` : text;
  return printable(JSON.stringify(short));
}

/** `text` without what could move a terminal's cursor or break a line of a log. */
function printable(text: string): string {
  return text.replace(/[\u0000-\u001f\u007f-\u009f\u2028\u2029]/g, "\ufffd");
}

/** What was found, in a word or two. */
export function describe(value: unknown): string {
  if (value === null) return "empty";
  if (Array.isArray(value)) return value.length === 0 ? "an empty list" : "a list";
  if (typeof value === "object") return "a mapping";
  if (typeof value === "string") return quote(value);
  return typeof value === "number" || typeof value === "boolean" ? String(value) : `a ${typeof value}`;
}

/** ` (did you mean x?)` where one of `known` is close to `word`, else an empty string. */
export function suggest(word: string, known: Iterable<string>): string {
  const spelled = (text: string): string => text.toLowerCase().replace(/[-_\s]/g, "");
  const letters = (text: string): string => text.replace(/\d/g, "");
  const meant = spelled(word.slice(0, 64));
  let best: string | null = null;
  let bestDistance = Math.max(1, Math.floor(meant.length / 3)) + 1;
  for (const candidate of known) {
    const other = spelled(candidate);
    if (Math.abs(other.length - meant.length) >= bestDistance) continue;
    if (letters(other) === letters(meant) && /\d/.test(meant)) continue; // 1.1 is no misspelt 1.2
    const distance = editDistance(meant, other);
    if (distance < bestDistance) [best, bestDistance] = [candidate, distance];
  }
  return best === null ? "" : ` (did you mean ${best}?)`;
}

/** Optimal string alignment: insertions, deletions, changes and swaps of neighbours. */
function editDistance(a: string, b: string): number {
  let beforeLast: number[] = [];
  let last = Array.from({ length: b.length + 1 }, (_, j) => j);
  for (let i = 1; i <= a.length; i++) {
    const row = [i];
    for (let j = 1; j <= b.length; j++) {
      const change = last[j - 1]! + (a[i - 1] === b[j - 1] ? 0 : 1);
      let least = Math.min(change, last[j]! + 1, row[j - 1]! + 1);
      if (i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1]) {
        least = Math.min(least, beforeLast[j - 2]! + 1);
      }
      row.push(least);
    }
    [beforeLast, last] = [last, row];
  }
  return last[b.length]!;
}

function sentence(fault: ConfigFault): string {
  return fault.path === "" ? fault.message : `${fault.path}: ${fault.message}`;
}

/** Terminal lines for people. Words are never broken, so that a path can be copied. */
const COLUMNS = 80;

/** Every fault as `file:line:column path: message`, wrapped to 80 columns; for other errors their message. */
export function formatFaults(error: unknown): string {
  if (!(error instanceof ProxyError)) return error instanceof Error ? error.message : String(error);
  if (error.faults.length === 0) return error.message;
  return error.faults.map(formatFault).join("\n");
}

/** One fault as `formatFaults` writes it. */
export function formatFault(fault: ConfigFault): string {
  const place = [fault.file, fault.line, fault.column].filter((part) => part !== null).join(":");
  const words = `${place} ${sentence(fault)}`.trim().split(" ");
  const lines: string[] = [];
  let line = "";
  for (const word of words) {
    if (line.trim() !== "" && line.length + 1 + word.length > COLUMNS) {
      lines.push(line);
      line = `    ${word}`;
    } else {
      line = line === "" ? word : `${line} ${word}`;
    }
  }
  return [...lines, line].join("\n");
}
