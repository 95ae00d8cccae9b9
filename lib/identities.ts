/**
 * The identities of the running configuration: loaded, and watched where the configuration says so. Invariant: what is in use
 * always worked once; files that make no identity are told of and change nothing.
 */
import type { Config } from "./config/config.ts";
import { same } from "./config/equality.ts";
import type { Log } from "./observe/log.ts";
import { type Identity, loadIdentity } from "./tls/identity.ts";
import { IdentityWatch } from "./tls/watch.ts";

/** By name. */
export type LoadedIdentities = Readonly<Record<string, Identity>>;

export interface IdentitiesOptions {
  readonly log: Log;
  /**
   * Puts a renewed identity to use; rejects when it cannot be used. `due` says whether it is still wanted: a reload may have come
   * first and read the same files, or given the name to others.
   */
  readonly renew: (identity: Identity, due: () => boolean) => Promise<void>;
}

export class Identities {
  readonly #options: IdentitiesOptions;
  readonly #watches = new Map<string, IdentityWatch>();
  #current: LoadedIdentities = {};

  constructor(options: IdentitiesOptions) {
    this.#options = options;
  }

  get current(): LoadedIdentities {
    return this.#current;
  }

  /** `loaded` is in use now, for `config`. A watch that is still right goes on: what it is about to see must not be lost. */
  commit(config: Config, loaded: LoadedIdentities): void {
    this.#current = loaded;
    const wanted = config.identities;
    for (const [name, watch] of this.#watches) {
      if (same(watch.config, wanted[name]) && watch.version === loaded[name]?.version) continue;
      watch.close();
      this.#watches.delete(name);
    }
    for (const { name, watch } of Object.values(wanted)) {
      if (watch && !this.#watches.has(name)) this.#watch(config, name);
    }
  }

  /** No identity is renewed any more, until the next commit. */
  unwatch(): void {
    for (const watch of this.#watches.values()) watch.close();
    this.#watches.clear();
  }

  #watch(config: Config, name: string): void {
    const watch = new IdentityWatch({
      config: config.identities[name]!,
      current: this.#current[name]!,
      changed: (renewed) => void this.#renewed(watch, renewed),
      failed: (error) => this.#keep(name, error, "identity cannot be renewed, the last good one stays"),
    });
    this.#watches.set(name, watch);
    // The files may have changed since they were read.
    void watch.look();
  }

  async #renewed(watch: IdentityWatch, identity: Identity): Promise<void> {
    const { name, version } = identity;
    const due = () => this.#watches.get(name) === watch && this.#current[name]?.version !== version;
    try {
      await this.#options.renew(identity, due);
    } catch (thrown) {
      this.#keep(name, thrown as Error, "identity cannot be used, the last good one stays");
    }
  }

  #keep(identity: string, { message }: Error, what: string): void {
    this.#options.log.events.error({ identity, error: message }, what);
  }
}

/** Reads the files of every identity of `config`. Rejects with ProxyError IDENTITY. */
export async function loadIdentities(config: Config): Promise<LoadedIdentities> {
  const entries = await Promise.all(
    Object.values(config.identities).map(
      async (identity) => [identity.name, await loadIdentity(identity)] as const,
    ),
  );
  return Object.fromEntries(entries);
}
