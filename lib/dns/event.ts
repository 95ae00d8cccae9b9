/**
 * What a resolver tells its owner beside the sets themselves: every answer for the counters, every change with the records
 * that led to it, every trouble once. Plain data; sentences are made of it where it is logged.
 */
import type { ResolutionKind } from "./lookup.ts";

/** For logs and counters. `name` is what the source is called: the SRV name or the host. */
export type ResolverEvent =
  /** Every resolution, for counting. */
  | { readonly kind: "answer"; readonly name: string; readonly result: ResolutionKind }
  | {
      readonly kind: "changed";
      readonly name: string;
      readonly added: readonly string[];
      readonly removed: readonly string[];
      readonly total: number;
      readonly raw: readonly string[];
    }
  /** Nothing usable came. `failures` counts those in a row; only the first is news. */
  | {
      readonly kind: "failed";
      readonly name: string;
      readonly result: ResolutionKind;
      readonly detail: string;
      readonly failures: number;
      readonly retryIn: number;
    }
  /** From now on what is served is older than its TTL. */
  | {
      readonly kind: "stale";
      readonly name: string;
      readonly result: ResolutionKind;
      readonly serving: number;
    }
  /** The answer would have removed too much. */
  | {
      readonly kind: "removal_held";
      readonly name: string;
      readonly held: readonly string[];
      readonly total: number;
      readonly confirmIn: number;
      readonly raw: readonly string[];
    }
  /** The answer was used, but some targets could not be resolved or were passed over. */
  | { readonly kind: "partial"; readonly name: string; readonly failures: readonly string[] };
