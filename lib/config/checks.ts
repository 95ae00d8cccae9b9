/**
 * Checks between entries: names that are taken twice, addresses that are taken twice, references to what is not there.
 * They read the values as written, so that they also find what is wrong in an entry that has other faults.
 */
import { resolve } from "node:path";
import { formatAddress } from "../wire/address.ts";
import { valueAt } from "./explain.ts";
import { type FaultList, formatPath, type Path, quote, suggest } from "./faults.ts";
import { parseEntryName } from "./names.ts";
import type { Parts, RoutePart } from "./parts.ts";
import { adminAddress, type ListenAddress } from "./scalars.ts";

/** sockaddr_un.sun_path has 108 bytes with its closing NUL: unix(7). */
const MAX_UNIX_PATH = 107;

/** Adds every fault between the entries of `parts`. */
export function checkEntries(parts: Parts, directory: string, faults: FaultList): void {
  checkNames(parts, faults);
  checkAddresses(parts, directory, faults);
  checkReferences(parts, faults);
}

function checkNames(parts: Parts, faults: FaultList): void {
  for (const { path } of [...parts.identities.values(), ...parts.clusters.values()]) {
    const name = parseEntryName(String(path.at(-1)));
    if ("fault" in name) faults.add(path, `has a name that cannot be used: it ${name.fault}`, "key");
  }
  const listeners = new Map<unknown, Path>();
  for (const listener of parts.listeners) {
    const name = valueAt(parts.raw, [...listener.path, "name"]);
    if (typeof name === "string") unique(listeners, name, [...listener.path, "name"], "name", faults);
    const routes = new Map<unknown, Path>();
    for (const route of listener.routes) {
      const named = valueAt(parts.raw, [...route.path, "name"]) !== undefined;
      if (route.name !== null)
        unique(routes, route.name, named ? [...route.path, "name"] : route.path, "name", faults);
    }
  }
}

function checkAddresses(parts: Parts, directory: string, faults: FaultList): void {
  const taken = new Map<unknown, Path>();
  const look = (address: ListenAddress, path: Path): void => {
    checkUnixPath(address, directory, path, faults);
    if (address.kind === "ip" && address.port === 0) return; // the system gives each its own port
    const place =
      address.kind === "unix" ? `unix:${resolve(directory, address.path)}` : formatAddress(address);
    unique(taken, place, path, "address", faults);
  };
  for (const listener of parts.listeners) {
    if (listener.value !== null) look(listener.value.address, [...listener.path, "address"]);
  }
  const admin = adminAddress.safeParse(valueAt(parts.raw, ["admin", "listen"]));
  if (admin.success) look(admin.data, ["admin", "listen"]);
  for (const cluster of parts.clusters.values()) {
    const seen = new Map<unknown, Path>();
    for (const [i, endpoint] of (cluster.value?.endpoints ?? []).entries()) {
      const path = [...cluster.path, "endpoints", i];
      const address = "address" in endpoint ? endpoint.address : endpoint;
      checkUnixPath(address, directory, path, faults);
      unique(seen, formatAddress(address), path, "endpoint", faults);
    }
  }
}

function checkUnixPath(
  address: { kind: string; path?: string },
  directory: string,
  path: Path,
  faults: FaultList,
): void {
  if (address.kind !== "unix" || address.path === undefined) return;
  const length = Buffer.byteLength(resolve(directory, address.path));
  if (length > MAX_UNIX_PATH) {
    faults.add(
      path,
      `must have at most ${MAX_UNIX_PATH} bytes in its whole path, not ${length}: the system takes no more`,
    );
  }
}

function unique(taken: Map<unknown, Path>, key: string, path: Path, what: string, faults: FaultList): void {
  const first = taken.get(key);
  if (first === undefined) taken.set(key, path);
  else faults.add(path, `must be another ${what}: ${quote(key)} is taken by ${formatPath(first)}`);
}

function checkReferences(parts: Parts, faults: FaultList): void {
  const refer = (path: Path, kind: "cluster" | "identity", known: ReadonlyMap<string, unknown>): void => {
    const name = valueAt(parts.raw, path);
    if (typeof name !== "string" || known.has(name)) return;
    const names = [...known.keys()];
    const section = kind === "cluster" ? "clusters" : "identities";
    const advice = suggest(name, names) || listed(section, names);
    faults.add(
      path,
      `must name ${kind === "cluster" ? "a cluster" : "an identity"}: there is no ${quote(name)}${advice}`,
    );
  };
  for (const route of parts.listeners.flatMap((listener): readonly RoutePart[] => listener.routes)) {
    refer([...route.path, "identity"], "identity", parts.identities);
    refer([...route.path, "cluster"], "cluster", parts.clusters);
  }
  for (const cluster of parts.clusters.values()) {
    refer([...cluster.path, "tls", "identity"], "identity", parts.identities);
  }
}

function listed(section: string, names: readonly string[]): string {
  if (names.length === 0) return `, ${section} is empty`;
  const some = names.slice(0, 8).map((name) => quote(name));
  return ` (${section} has ${some.join(", ")}${names.length > some.length ? " and more" : ""})`;
}
