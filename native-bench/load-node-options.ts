/** The portable generator's command line: the same options as load-options.c reads. */
import { parseArgs } from "node:util";

const text = { type: "string" } as const;
const flag = { type: "boolean", default: false } as const;
const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    ...{
      target: text,
      service: text,
      ca: text,
      cert: text,
      key: text,
      sni: text,
      cpu: text,
      watch: text,
    },
    ...{ tls: flag, "service-tls": flag, resume: flag, hello: flag, verify: flag, spin: flag },
    connections: { type: "string", default: "1" },
    size: { type: "string", default: "100" },
    seconds: { type: "string", default: "2" },
    warmup: { type: "string", default: "0.3" },
    idle: { type: "string", default: "0" },
    rate: { type: "string", default: "0" },
    close: { type: "string", default: "client-rst" },
    sources: { type: "string", default: "1" },
    from: { type: "string", default: "127.0.0.2" },
    "tls-version": { type: "string", default: "1.3" },
    group: { type: "string", default: "P-256" },
  },
});

export const given = values;
export const mode = positionals[0] ?? "";
