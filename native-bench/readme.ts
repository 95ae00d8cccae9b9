/** The table of the README, made from a stored report and put between two marks. Pure. */

import { overview, provenance } from "./overview.ts";
import type { Report } from "./result.ts";

export const BEGIN = "<!-- bench:begin -->";
export const END = "<!-- bench:end -->";

/** `source` is the stored file, as a path from the README; `shown`: see `overview`. Empty when it would tell nothing new. */
export function readmeTable(report: Report, source: string, shown: Set<string> = new Set()): string {
  const lines = overview(report, shown);
  if (lines === "") return "";
  return `${lines}\n\nBelow 1 Millrace costs less. Generated from [${source}](${source}):\n\n${provenance(report)}`;
}

/** Throws when the marks are missing: a table must not silently go stale. */
export function replaceTable(readme: string, table: string): string {
  const from = readme.indexOf(BEGIN);
  const to = readme.indexOf(END);
  if (from < 0 || to < from) throw new Error(`the README has no ${BEGIN} and ${END}`);
  return `${readme.slice(0, from + BEGIN.length)}\n${table}\n${readme.slice(to)}`;
}
