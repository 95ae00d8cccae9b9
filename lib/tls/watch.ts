/**
 * Watches the files of one identity and reports each new state that works, or the fault while the last good one stays in use.
 * It watches directories, because renewals replace files (rename, and the `..data` link that Kubernetes swaps), and it looks
 * from time to time by itself, because network file systems and exhausted inotify limits send no events. inotify(7).
 */
import { type FSWatcher, watch } from "node:fs";
import { dirname } from "node:path";
import type { IdentityConfig } from "../config/config.ts";
import { asProxyError, type ProxyError } from "../errors.ts";
import { type Identity, loadIdentity } from "./identity.ts";

export interface IdentityWatchOptions {
  readonly config: IdentityConfig;
  /** What is in use now. */
  readonly current: Identity;
  readonly changed: (identity: Identity) => void;
  /** The files do not make an identity now; told once per different fault. */
  readonly failed: (error: ProxyError) => void;
  /** ms of silence after an event, so that certificate and key, replaced one after the other, are read together. */
  readonly settle?: number;
  /** ms between looks of its own. */
  readonly poll?: number;
}

const SETTLE = 200;
const POLL = 30_000;

export class IdentityWatch {
  readonly #options: IdentityWatchOptions;
  readonly #watchers = new Map<string, FSWatcher>();
  readonly #poll: NodeJS.Timeout;
  #settle: NodeJS.Timeout | null = null;
  #version: string;
  #fault = "";
  #looking: Promise<void> | null = null;
  #again = false;
  #closed = false;

  constructor(options: IdentityWatchOptions) {
    this.#options = options;
    this.#version = options.current.version;
    this.#poll = setInterval(() => void this.look(), options.poll ?? POLL).unref();
    this.#watch();
  }

  get config(): IdentityConfig {
    return this.#options.config;
  }

  /** Of the identity that it told last, or began with. */
  get version(): string {
    return this.#version;
  }

  /** Reads the files now. Resolves when what was found has been reported. */
  look(): Promise<void> {
    if (this.#closed) return Promise.resolve();
    if (this.#looking !== null) {
      this.#again = true;
      return this.#looking;
    }
    this.#looking = this.#look().finally(() => {
      this.#looking = null;
    });
    return this.#looking;
  }

  close(): void {
    this.#closed = true;
    clearInterval(this.#poll);
    if (this.#settle !== null) clearTimeout(this.#settle);
    for (const watcher of this.#watchers.values()) watcher.close();
    this.#watchers.clear();
  }

  async #look(): Promise<void> {
    do {
      this.#again = false;
      this.#watch();
      try {
        const identity = await loadIdentity(this.#options.config);
        if (!this.#closed) this.#succeeded(identity);
      } catch (error) {
        if (!this.#closed) this.#failed(asProxyError(error));
      }
    } while (this.#again && !this.#closed);
  }

  #succeeded(identity: Identity): void {
    this.#fault = "";
    if (identity.version === this.#version) return;
    this.#version = identity.version;
    this.#options.changed(identity);
  }

  #failed(error: ProxyError): void {
    if (error.message === this.#fault) return;
    this.#fault = error.message;
    this.#options.failed(error);
  }

  /** Arms what is not armed: also a directory that was removed and came back. */
  #watch(): void {
    const { cert, key, ca, crl } = this.#options.config;
    for (const path of [cert, key, ca, crl]) {
      const directory = path === null ? null : dirname(path);
      if (directory === null || this.#watchers.has(directory)) continue;
      try {
        const watcher = watch(directory, { persistent: false }, (kind, file) =>
          this.#seen(directory, kind, file),
        );
        watcher.on("error", () => this.#drop(directory));
        this.#watchers.set(directory, watcher);
      } catch {
        // No events from there; the poll goes on and tries again.
      }
    }
  }

  #drop(directory: string): void {
    this.#watchers.get(directory)?.close();
    this.#watchers.delete(directory);
  }

  #seen(directory: string, kind: string, file: string | null): void {
    // inotify reports the end of a watched directory as a rename of itself; the watch is dead then.
    if (kind === "rename" && file !== null && directory.endsWith(`/${file}`)) this.#drop(directory);
    if (this.#settle === null) {
      this.#settle = setTimeout(() => {
        this.#settle = null;
        void this.look();
      }, this.#options.settle ?? SETTLE).unref();
    } else {
      this.#settle.refresh();
    }
  }
}
