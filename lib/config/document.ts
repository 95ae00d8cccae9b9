/**
 * From text to a plain tree of values, with the line and column of everything in it. YAML 1.2, core schema (JSON is a
 * part of it). Bounded against hostile text: length, depth and number of nodes after aliases; the depth is checked on
 * the parser's stack, since a composer that recurses too deep aborts the process instead of throwing. Variables are
 * expanded here, and mappings have no prototype, so that no key can mean more than itself.
 */
import { Composer, isAlias, isMap, isScalar, isSeq, Lexer, LineCounter, type Node, Parser } from "yaml";
import { FaultList, type Path, type Place, Places, quote } from "./faults.ts";
import { type Environment, expandVariables } from "./variables.ts";

/** No configuration of any use is longer; ten thousand listeners are some 2 MiB. */
const MAX_LENGTH = 4 * 2 ** 20;
/** The parser needs some 500 bytes a lexeme; ten thousand listeners have some 600 000. */
const MAX_LEXEMES = 1_000_000;
/** The deepest legal place is `listeners[0].routes[0].match.sni[0]`; the parser's stack holds up to 3 entries a level. */
const MAX_DEPTH = 32;
const MAX_STACK = 3 * MAX_DEPTH;
/** Values that aliases may add, or that a program may hand in: nine anchors of nine aliases each would be 10^9. */
const MAX_UNFOLDED = 100_000;
/** Broken text breaks everywhere; more lines than this help nobody. */
const MAX_SYNTAX_FAULTS = 20;

/** A configuration as values only. `faults` may already hold some. */
export interface Tree {
  readonly value: unknown;
  readonly places: Places;
  readonly faults: FaultList;
  /** Paths of strings that came out of variables: they may stand for numbers and booleans. */
  readonly expanded: readonly Path[];
}

/** Reads YAML. Faults of syntax leave `value` undefined. */
export function readDocument(text: string, file: string | null, env: Environment): Tree {
  const places = new Places();
  const faults = new FaultList(file, places);
  const lines = new LineCounter();
  const place = (offset: number): Place => {
    const { line, col } = lines.linePos(offset);
    return { line: Math.max(line, 1), column: Math.max(col, 1) };
  };
  const nothing: Tree = { value: undefined, places, faults, expanded: [] };
  const refuse = (message: string, offset: number): Tree => {
    faults.addAt([], message, place(offset));
    return nothing;
  };
  if (text.length > MAX_LENGTH) {
    faults.addAt([], "must have at most 4 MiB of text", null);
    return nothing;
  }

  const parser = new Parser(lines.addNewLine);
  const tokens = [];
  lines.addNewLine(0);
  let lexemes = 0;
  for (const lexeme of new Lexer().lex(text)) {
    for (const token of parser.next(lexeme)) tokens.push(token);
    const { offset } = parser;
    if (++lexemes > MAX_LEXEMES) return refuse(`must have at most ${MAX_LEXEMES} words and signs`, offset);
    if (parser.stack.length > MAX_STACK)
      return refuse(`must not nest deeper than ${MAX_DEPTH} levels`, offset);
  }
  for (const token of parser.end()) tokens.push(token);

  // Duplicate keys are found below, in linear time and with the line of the first.
  const composer = new Composer({ uniqueKeys: false, prettyErrors: false });
  const documents = [...composer.compose(tokens, true, text.length)];
  const document = documents[0];
  if (document === undefined) return refuse("is empty: a configuration has at least listeners", 0);
  for (const error of [...document.errors, ...document.warnings]) {
    if (faults.size >= MAX_SYNTAX_FAULTS) break;
    // Once the structure is lost, everything after it is "unexpected": only the first says something.
    if (error.code === "UNEXPECTED_TOKEN" && faults.size > 0) continue;
    const at = place(error.pos[0]);
    const written = text.split("\n", at.line)[at.line - 1] ?? "";
    faults.addAt([], `is no valid YAML: ${lowerFirst(error.message)}${quotesAdvice(written)}`, at);
  }
  if (document.directives?.yaml.version === "1.1")
    faults.addAt([], "must be YAML 1.2: remove the %YAML 1.1 line", place(0));
  const second = documents[1];
  if (second !== undefined) {
    faults.addAt([], "must be one YAML document: remove the second one", place(second.range[0]));
  }
  if (faults.size > 0) return nothing;
  const root = document.contents;
  if (root === null || (isScalar(root) && root.value === null)) {
    return refuse("is empty: a configuration has at least listeners", 0);
  }
  const walk = new YamlWalk(env, places, faults, place);
  const value = walk.value(root, [], 0);
  return { value: walk.stopped ? undefined : value, places, faults, expanded: walk.expanded };
}

class YamlWalk {
  readonly expanded: Path[] = [];
  readonly #env: Environment;
  readonly #places: Places;
  readonly #faults: FaultList;
  readonly #place: (offset: number) => Place;
  /** An alias means the last anchor of its name before it, so the anchors met so far are all that is needed. */
  readonly #anchors = new Map<string, Node>();
  #inAlias = false;
  #unfolded = 0;
  #stopped = false;

  constructor(env: Environment, places: Places, faults: FaultList, place: (offset: number) => Place) {
    this.#env = env;
    this.#places = places;
    this.#faults = faults;
    this.#place = place;
  }

  /** A bound was passed: that fault says it all, and the rest is walked no more. */
  get stopped(): boolean {
    return this.#stopped;
  }

  /** The plain value of a node; undefined where it is refused. */
  value(node: Node | null, path: Path, around: number, key?: Place): unknown {
    const offset = node?.range?.[0] ?? around;
    this.#places.set(path, this.#place(offset), key);
    if (this.#stopped) return undefined;
    if (node === null) return null;
    if (path.length > MAX_DEPTH) return this.#refuse(path, `must not nest deeper than ${MAX_DEPTH} levels`);
    if (this.#inAlias && ++this.#unfolded > MAX_UNFOLDED) {
      return this.#refuse(path, `must not use aliases for more than ${MAX_UNFOLDED} values`);
    }
    if (isAlias(node)) {
      const target = this.#anchors.get(node.source);
      if (target === undefined) {
        const text = quote(`*${node.source}`);
        this.#faults.add(path, `has a star that YAML takes for an alias: write ${text} in quotes`);
        return undefined;
      }
      const outermost = !this.#inAlias;
      this.#inAlias = true;
      const value = this.#inner(target, path, offset);
      if (outermost) this.#inAlias = false;
      return value;
    }
    if ("anchor" in node && node.anchor !== undefined) this.#anchors.set(node.anchor, node);
    return this.#inner(node, path, offset);
  }

  #refuse(path: Path, message: string): undefined {
    this.#faults.add(path, message);
    this.#stopped = true;
  }

  #inner(node: Node, path: Path, offset: number): unknown {
    if (isSeq(node))
      return node.items.map((item, i) => this.value(item as Node | null, [...path, i], offset));
    if (isMap(node)) {
      const mapping: Record<string, unknown> = Object.create(null);
      for (const pair of node.items)
        this.#pair(mapping, pair.key as Node | null, pair.value as Node | null, path, offset);
      return mapping;
    }
    if (!isScalar(node)) return undefined;
    if (typeof node.value === "string")
      return expanded(node.value, path, this.#env, this.#faults, this.expanded);
    return node.value;
  }

  #pair(
    mapping: Record<string, unknown>,
    key: Node | null,
    value: Node | null,
    path: Path,
    around: number,
  ): void {
    const offset = key?.range?.[0] ?? around;
    const place = this.#place(offset);
    if (!isScalar(key) || key.value === null) {
      this.#faults.addAt(path, "must have plain words as keys", place);
      return;
    }
    const name = typeof key.value === "string" ? key.value : (key.source ?? String(key.value));
    const at = [...path, name];
    if (key.anchor !== undefined) this.#anchors.set(key.anchor, key);
    if (name === "__proto__") {
      this.#faults.addAt(at, "is no name that can be used here", place);
      return;
    }
    if (Object.hasOwn(mapping, name)) {
      const first = this.#places.at(at, "key");
      this.#faults.addAt(
        at,
        `is written twice: the first ${quote(name)} is in line ${first?.line ?? "?"}`,
        place,
      );
      return;
    }
    mapping[name] = this.value(value, at, offset, place);
  }
}

/** The tree of a value that a program built: the same rules, no places. */
export function readValue(input: unknown, env: Environment): Tree {
  const places = new Places();
  const faults = new FaultList(null, places);
  const paths: Path[] = [];
  let unfolded = 0;
  let stopped = false;
  const walk = (value: unknown, path: Path): unknown => {
    if (stopped) return undefined;
    if (typeof value === "string") return expanded(value, path, env, faults, paths);
    if (typeof value !== "object" || value === null) return value;
    if (path.length > MAX_DEPTH || ++unfolded > MAX_UNFOLDED) {
      faults.add(
        path,
        `must not nest deeper than ${MAX_DEPTH} levels or have more than ${MAX_UNFOLDED} values`,
      );
      stopped = true;
      return undefined;
    }
    if (Array.isArray(value)) return value.map((item, i) => walk(item, [...path, i]));
    const mapping: Record<string, unknown> = Object.create(null);
    for (const [key, item] of Object.entries(value)) {
      if (key === "__proto__") faults.add([...path, key], "is no name that can be used here");
      else if (item !== undefined) mapping[key] = walk(item, [...path, key]);
    }
    return mapping;
  };
  const value = walk(input, []);
  return { value: stopped ? undefined : value, places, faults, expanded: paths };
}

function expanded(text: string, path: Path, env: Environment, faults: FaultList, paths: Path[]): string {
  const result = expandVariables(text, env);
  for (const fault of result.faults) faults.add(path, fault);
  if (result.changed) paths.push(path);
  return result.text;
}

/** For what YAML takes for a list or a mapping where an address or a variable was meant. */
function quotesAdvice(line: string): string {
  if (/\[[\da-fA-F:.]*\]:/.test(line)) return "; an address in brackets needs quotes";
  return line.includes("${") ? "; a variable inside { } or [ ] needs quotes" : "";
}

function lowerFirst(text: string): string {
  return /^[A-Z][a-z ]/.test(text) ? text.charAt(0).toLowerCase() + text.slice(1) : text;
}
