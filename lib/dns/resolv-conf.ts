/**
 * resolv.conf(5): which DNS servers to ask, and how. Follows glibc in what the lines mean and how far values may go, but
 * reads neither LOCALDOMAIN nor RES_OPTIONS, and takes more than three servers. A missing or empty file means a server on
 * this machine, as in glibc. A running proxy sees changes: every query reads the file, and who waits can watch it.
 */
import { readFileSync, unwatchFile, watchFile } from "node:fs";
import { isIP } from "node:net";
import { canonicalName } from "./name.ts";

/** A DNS server. `host` is an IP literal, an IPv6 one possibly with a %zone. */
export interface Nameserver {
  readonly host: string;
  readonly port: number;
}

export interface ResolvConf {
  readonly nameservers: readonly Nameserver[];
  readonly search: readonly string[];
  readonly ndots: number;
  /** ms that one server gets in the first round; null where the file does not say. */
  readonly timeout: number | null;
  /** Rounds over all servers; null where the file does not say. */
  readonly attempts: number | null;
  readonly rotate: boolean;
  /** `options use-vc`: TCP only. */
  readonly tcp: boolean;
}

const DNS_PORT = 53;
const LOCAL: readonly Nameserver[] = [{ host: "127.0.0.1", port: DNS_PORT }];
// The bounds that glibc puts on the options (RES_MAXNDOTS, RES_MAXRETRANS, RES_MAXRETRY in resolv.h).
const MAX_NDOTS = 15;
const MAX_TIMEOUT_S = 30;
const MAX_ATTEMPTS = 5;
// By stat(2) and not inotify(7): the file is a symbolic link into another folder under systemd-resolved, replaced by rename
// or written in place elsewhere, and mounted on its own in containers. Only the name is the same in all of these.
const WATCH_MS = 1000;

/** Reads the text of a resolv.conf. Never throws: lines and values that make no sense are passed over, as glibc does. */
export function parseResolvConf(text: string): ResolvConf {
  const nameservers: Nameserver[] = [];
  let search: string[] = [];
  let ndots = 1;
  let timeout: number | null = null;
  let attempts: number | null = null;
  let rotate = false;
  let tcp = false;
  for (const line of text.split("\n")) {
    if (/^[#;]/.test(line)) continue;
    const [keyword, ...words] = line.trim().split(/\s+/);
    if (keyword === "nameserver") {
      const host = words[0] ?? "";
      if (isIP(host) !== 0) nameservers.push({ host, port: DNS_PORT });
    } else if (keyword === "search" || keyword === "domain") {
      // The last such line wins; `domain` is a list of one.
      const names = keyword === "domain" ? words.slice(0, 1) : words;
      search = names.map(canonicalName).filter((name): name is string => name !== null && name !== ".");
    } else if (keyword === "options") {
      for (const word of words) {
        const [option, value] = word.split(":");
        const number = value !== undefined && /^\d+$/.test(value) ? Number(value) : null;
        if (option === "ndots" && number !== null) ndots = Math.min(number, MAX_NDOTS);
        else if (option === "timeout" && number !== null) {
          timeout = Math.min(Math.max(number, 1), MAX_TIMEOUT_S) * 1000;
        } else if (option === "attempts" && number !== null)
          attempts = Math.min(Math.max(number, 1), MAX_ATTEMPTS);
        else if (option === "rotate") rotate = true;
        else if (option === "use-vc") tcp = true;
      }
    }
  }
  return {
    nameservers: nameservers.length > 0 ? nameservers : LOCAL,
    search,
    ndots,
    timeout,
    attempts,
    rotate,
    tcp,
  };
}

/** The full names to try for a name as written, in order (resolv.conf(5), `search` and `ndots`). Kept form. */
export function candidates(written: string, search: readonly string[], ndots: number): string[] {
  const name = canonicalName(written);
  if (name === null) return [];
  if (written.endsWith(".") || search.length === 0) return [name];
  const beneath = search
    .map((domain) => canonicalName(`${name}.${domain}`))
    .filter((longer): longer is string => longer !== null);
  const dots = name.split(".").length - 1;
  return dots >= ndots ? [name, ...beneath] : [...beneath, name];
}

/** The file as it is now. */
export class ResolvConfFile {
  readonly #path: string;
  readonly #interval: number;
  readonly #watchers = new Set<() => void>();
  #text = "";
  #current: ResolvConf = parseResolvConf("");

  constructor(path = "/etc/resolv.conf", interval = WATCH_MS) {
    this.#path = path;
    this.#interval = interval;
  }

  /** Reads it, which costs some 10 µs. Never throws: a file that went away or cannot be read leaves what was read last. */
  current(): ResolvConf {
    try {
      const text = readFileSync(this.#path, "utf8");
      if (text !== this.#text) this.#current = parseResolvConf(text);
      this.#text = text;
    } catch {
      // Not there, or just being replaced: the next look will see it.
    }
    return this.#current;
  }

  /**
   * Calls `onChange` within a second of each change, however the file is written or replaced. The returned function ends
   * that; the last one to end it stops the watching. Keeps no process alive.
   */
  watch(onChange: () => void): () => void {
    const watcher = (): void => onChange(); // an entry of its own, should one function watch twice
    if (this.#watchers.size === 0) {
      watchFile(this.#path, { interval: this.#interval, persistent: false }, this.#tell);
    }
    this.#watchers.add(watcher);
    return () => {
      if (this.#watchers.delete(watcher) && this.#watchers.size === 0) unwatchFile(this.#path, this.#tell);
    };
  }

  readonly #tell = (): void => {
    for (const watcher of [...this.#watchers]) if (this.#watchers.has(watcher)) watcher();
  };
}
