/**
 * A configuration taken apart, so that one wrong route does not hide the faults of the others: every entry is read by
 * itself, and one that cannot be read is null but still known by name. What checks.ts and coherence.ts look at.
 */
import type { z } from "zod";
import { valueAt } from "./explain.ts";
import type { Path } from "./faults.ts";
import { type ClusterWritten, clusterSchema } from "./schema-cluster.ts";
import {
  defaultRouteSchema,
  type IdentityWritten,
  identitySchema,
  type ListenerWritten,
  listenerSchema,
  type RouteWritten,
  routeSchema,
} from "./schema-listener.ts";

export interface Part<T> {
  readonly path: Path;
  /** null: wrong by itself, already reported. */
  readonly value: T | null;
}

export interface RoutePart extends Part<RouteWritten> {
  /** As written or as given by position; null where the name itself is wrong. */
  readonly name: string | null;
  readonly isDefault: boolean;
}

export interface ListenerPart extends Part<ListenerWritten> {
  readonly routes: readonly RoutePart[];
}

export interface Parts {
  readonly raw: unknown;
  readonly identities: ReadonlyMap<string, Part<IdentityWritten>>;
  readonly clusters: ReadonlyMap<string, Part<ClusterWritten>>;
  readonly listeners: readonly ListenerPart[];
}

export function takeApart(raw: unknown): Parts {
  return {
    raw,
    identities: named(raw, "identities", identitySchema),
    clusters: named(raw, "clusters", clusterSchema),
    listeners: items(valueAt(raw, ["listeners"])).map((item, i) => listenerPart(item, ["listeners", i])),
  };
}

/** Name of a route that has none: unique, because it names the listener. */
export function routeName(listener: string, position: number | "default"): string {
  return `${listener}/${position}`;
}

function listenerPart(raw: unknown, path: Path): ListenerPart {
  const listener = valueAt(raw, ["name"]);
  const name = (route: unknown, position: number | "default"): string | null => {
    const written = valueAt(route, ["name"]);
    if (written === undefined) return typeof listener === "string" ? routeName(listener, position) : null;
    return typeof written === "string" ? written : null;
  };
  const routes: RoutePart[] = items(valueAt(raw, ["routes"])).map((route, i) => ({
    ...part(route, [...path, "routes", i], routeSchema),
    name: name(route, i),
    isDefault: false,
  }));
  const last = valueAt(raw, ["default"]);
  if (typeof last === "object" && last !== null) {
    const whole = part(last, [...path, "default"], defaultRouteSchema);
    routes.push({ ...whole, name: name(last, "default"), isDefault: true });
  }
  // Without its routes, so that a wrong route leaves the rest of its listener readable.
  const shell = typeof raw === "object" && raw !== null ? { ...raw, routes: [], default: "refuse" } : raw;
  return { ...part(shell, path, listenerSchema), routes };
}

function named<S extends z.ZodType>(raw: unknown, key: string, schema: S): Map<string, Part<z.output<S>>> {
  const value = valueAt(raw, [key]);
  if (typeof value !== "object" || value === null || Array.isArray(value)) return new Map();
  return new Map(Object.entries(value).map(([name, entry]) => [name, part(entry, [key, name], schema)]));
}

function part<S extends z.ZodType>(raw: unknown, path: Path, schema: S): Part<z.output<S>> {
  const read = schema.safeParse(raw);
  return { path, value: read.success ? read.data : null };
}

function items(value: unknown): readonly unknown[] {
  return Array.isArray(value) ? value : [];
}
