/**
 * What a user may write, as a whole, in zod and strict everywhere. `z.input` of it is the type for
 * programs, its JSON Schema is for editors. Reading it gives values with their defaults, still under the users' names;
 * normalize.ts turns them into a `Config`.
 */
import { z } from "zod";
import { MAX_WORKERS } from "./config.ts";
import * as is from "./scalars.ts";
import { clusterSchema } from "./schema-cluster.ts";
import { identitySchema, listenerSchema, MAX_CONNECTIONS, timeoutsSchema } from "./schema-listener.ts";

export const configSchema = is
  .mapping({
    transport: is
      .choice(["auto", "epoll", "net"])
      .default("auto")
      .meta({ description: "epoll: Linux, the fast one. net: everywhere. auto: epoll where it loads." }),
    workers: is
      .autoOr(1, MAX_WORKERS)
      .default("auto")
      .meta({ description: "Worker threads; auto: one per CPU." }),
    log: is
      .mapping({
        level: is.choice(["trace", "debug", "info", "warn", "error", "fatal", "silent"]).default("info"),
        access: is.boolean.default(true).meta({ description: "One line per connection when it ends." }),
        format: is
          .choice(["json", "pretty", "auto"])
          .default("auto")
          .meta({ description: "auto: pretty on a terminal, else json." }),
      })
      .prefault({}),
    admin: is
      .mapping({ listen: is.adminAddress.meta({ description: "unix:/path or IP:PORT." }) })
      .optional()
      .meta({ description: "Admin over HTTP; off when left out." }),
    limits: is
      .mapping({
        connections: is
          .autoOr(1, MAX_CONNECTIONS)
          .default("auto")
          .meta({ description: "At once; auto: what the descriptor limit allows." }),
        per_source: is
          .integer(0, MAX_CONNECTIONS)
          .default(0)
          .meta({ description: "At once from one address; 0: no limit." }),
        hello_bytes: is
          .size(64, 2 ** 20, "64B to 1MiB")
          .prefault("64KiB")
          .meta({ description: "Longest ClientHello." }),
      })
      .prefault({}),
    timeouts: timeoutsSchema.prefault({}),
    dns: is
      .mapping({
        servers: is
          .list(is.nameServer)
          .min(1, { error: () => "must name a server: leave it out to use resolv.conf" })
          .optional()
          .meta({ description: "Name servers; those of resolv.conf when left out." }),
        timeout: is.duration.optional().meta({
          description: "How long one server is waited for; doubles each round. As resolv.conf, or 2s.",
        }),
        attempts: is
          .integer(1, 5)
          .optional()
          .meta({ description: "Rounds over all servers, within 10s in all. As resolv.conf, or 3." }),
      })
      .prefault({}),
    identities: is
      .entries(identitySchema)
      .default({})
      .meta({ description: "Certificates, keys and trust, by name." }),
    listeners: is
      .list(listenerSchema)
      .min(1, { error: () => "must have at least one listener" })
      .meta({ description: "Where connections are accepted." }),
    clusters: is.entries(clusterSchema).default({}).meta({ description: "Where connections go, by name." }),
  })
  .meta({ title: "Millrace configuration" });

/** What a program may hand to `normalizeConfig`; the same words as in a file. */
export type ConfigInput = z.input<typeof configSchema>;
/** A valid configuration under the users' names, defaults filled in, units and addresses read. */
export type ConfigWritten = z.output<typeof configSchema>;

/** The JSON Schema (draft 2020-12) of what a user may write. */
export function configJsonSchema(): Record<string, unknown> {
  return z.toJSONSchema(configSchema, { io: "input" }) as Record<string, unknown>;
}
