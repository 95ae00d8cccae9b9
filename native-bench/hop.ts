/** What a piece of work means for one contender: its hop to configure, and the generator's options to load it. */
import { join } from "node:path";
import type { Certificates, Keys } from "./certificates.ts";
import { type Contender, type Hop, tlsIn, tlsOut } from "./contender.ts";
import type { Generator } from "./generator.ts";
import type { Link } from "./link.ts";
import type { Place } from "./place.ts";
import type { Running } from "./process.ts";
import type { Progress } from "./progress.ts";
import type { Work } from "./works.ts";

/** All that a measurement needs to know besides the work and the contenders. */
export interface Setting {
  readonly generator: Generator;
  readonly place: Place;
  readonly link: Link;
  /** The service's port; contenders have those that follow. */
  readonly port: number;
  /** Descriptors that one process may have. */
  readonly descriptors: number;
  readonly certificates: Readonly<Record<Keys, Certificates>>;
  readonly directory: string;
  readonly accessLog: boolean;
  readonly seconds: number;
  readonly runs: number;
  readonly warmup: number;
  readonly progress: Progress;
}

/** Spare descriptors for listeners, logs, pipes and libraries. */
const SPARE = 500;

/** How many connections one process can carry through with this many descriptors. */
export function affordable(descriptors: number, wanted: number): number {
  return Math.max(1, Math.min(wanted, Math.floor((descriptors - SPARE) / 2)));
}

/** The part of a piece of work that a contender is configured for. */
export type Terms = Pick<Work, "shape" | "connections" | "routes" | "endpoints" | "tls" | "keys">;

export function hopFor(
  setting: Setting,
  contender: Contender,
  work: Terms,
  index: number,
  workers: number = 1,
): Hop {
  const { link, port } = setting;
  const endpoints = work.endpoints ?? 1;
  const services =
    endpoints === 1 ? [link.service] : Array.from({ length: endpoints }, (_, i) => link.endpoint(i));
  return {
    shape: work.shape,
    listen: `${link.proxy}:${port + 1 + index}`,
    targets: services.map((service) => `${service}:${port}`),
    directory: join(setting.directory, `${index}-${contender.name}`),
    certificates: setting.certificates[work.keys ?? "ecdsa"],
    tls: work.tls ?? "1.3",
    accessLog: setting.accessLog,
    workers,
    connections: affordable(setting.descriptors, work.connections + SPARE),
    routes: work.routes ?? 1,
  };
}

/** The generator's options for one hop, without times. `pinned`: on its own CPU. */
export function loadOptions(
  setting: Setting,
  running: Running,
  load: readonly string[],
  pinned: boolean = true,
): string[] {
  const { contender, hop } = running;
  const direct = contender.kind === "direct";
  const c = hop.certificates;
  const clientTls = tlsIn(hop.shape) || (direct && tlsOut(hop.shape));
  const serviceTls = tlsOut(hop.shape) || (direct && tlsIn(hop.shape));
  const [cert, key] = serviceTls ? [c.cert, c.key] : [c.clientCert, c.clientKey];
  const service = `${setting.link.service}:${setting.port}`;
  const cpu = pinned ? setting.place.loadCpu : null;
  return [
    ...load,
    ...["--target", direct ? service : hop.listen],
    ...["--service", hop.targets.length > 1 ? `0.0.0.0:${setting.port}` : service],
    ...["--from", setting.link.clients, "--sni", c.name, "--tls-version", hop.tls],
    ...(clientTls || serviceTls ? ["--ca", c.ca, "--cert", cert, "--key", key] : []),
    ...(clientTls ? ["--tls"] : []),
    ...(serviceTls ? ["--service-tls"] : []),
    ...(cpu === null ? [] : ["--cpu", String(cpu), "--spin"]),
    ...(running.pid ? ["--watch", String(running.pid)] : []),
  ];
}
