/**
 * From zod's issues to faults in the operator's words: what would be right, then what was found. Of a union only the
 * alternative that the writer meant is explained: the one whose outermost shape fits.
 */
import type { z } from "zod";
import { describe, type FaultList, type Path, quote, suggest } from "./faults.ts";

type Issue = z.core.$ZodIssue;

/** Adds a fault for each issue. `raw` is the value that was read. */
export function explainIssues(issues: readonly Issue[], raw: unknown, faults: FaultList): void {
  for (const issue of withoutEchoes(issues)) explainIssue(issue, [], raw, faults);
}

function explainIssue(issue: Issue, base: Path, raw: unknown, faults: FaultList): void {
  const path = [...base, ...issue.path.map((step) => (typeof step === "symbol" ? String(step) : step))];
  if (issue.code === "invalid_union") {
    const meant = issue.errors.filter((branch) => !branch.some(isOtherShape));
    if (meant.length === 1) {
      for (const inner of withoutEchoes(meant[0] ?? [])) explainIssue(inner, path, raw, faults);
      return;
    }
  }
  if (issue.code === "unrecognized_keys") {
    const known = issue.message.split(" ");
    for (const key of issue.keys) {
      const advice = suggest(key, known) || `; known are ${known.join(", ")}`;
      const merge = key === "<<" ? "; merge keys are not part of YAML 1.2" : "";
      faults.add([...path, key], `is an unknown key${advice}${merge}`, "key");
    }
    return;
  }
  const found = valueAt(raw, path);
  if (found === undefined) {
    faults.add(path, `is missing: it ${issue.message}`);
  } else if (found === null) {
    faults.add(path, `is empty: it ${issue.message}`);
  } else if (issue.code === "invalid_value" && typeof found === "string") {
    const known = issue.values.filter((value) => typeof value === "string");
    faults.add(path, `${issue.message}; found ${quote(found)}${suggest(found, known)}`);
  } else {
    faults.add(path, `${issue.message}; found ${describe(found)}${stringAdvice(issue, found)}`);
  }
}

/** The alternative is of another kind altogether: a mapping where a word was written, or another word. */
function isOtherShape(issue: Issue): boolean {
  return issue.path.length === 0 && (issue.code === "invalid_type" || issue.code === "invalid_value");
}

/** An unknown key is fault enough: what its mapping lacks because of it need not be said. */
function withoutEchoes(issues: readonly Issue[]): readonly Issue[] {
  const where = (issue: Issue): string => JSON.stringify(issue.path);
  const unknown = new Set(issues.filter((issue) => issue.code === "unrecognized_keys").map(where));
  return issues.filter((issue) => issue.code !== "custom" || !unknown.has(where(issue)));
}

function stringAdvice(issue: Issue, found: unknown): string {
  const scalar = typeof found === "number" || typeof found === "boolean";
  if (!scalar || issue.code !== "invalid_type" || issue.expected !== "string") return "";
  return /^must be (?:a string|a name|the name)/.test(issue.message) ? ": put it in quotes" : "";
}

/** What stands at `path` in a tree of plain values; undefined where there is nothing. */
export function valueAt(raw: unknown, path: Path): unknown {
  let value = raw;
  for (const step of path) {
    if (typeof value !== "object" || value === null || !Object.hasOwn(value, step)) return undefined;
    value = (value as Record<string | number, unknown>)[step];
  }
  return value;
}
