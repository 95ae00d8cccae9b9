/**
 * Environment variables in strings: `${VAR}` and `${VAR:-default}`, the default taken when VAR is unset or empty, as in
 * sh(1). `$${` is a literal `${`. One pass: what a variable brings is never expanded again, so that a value from outside
 * cannot reach for another variable.
 */

/** Environment of a process, or any other set of variables. */
export type Environment = Readonly<Record<string, string | undefined>>;

export interface Expansion {
  readonly text: string;
  /** At least one variable was replaced. */
  readonly changed: boolean;
  readonly faults: readonly string[];
}

const REFERENCE = /\$\$\{|\$\{([A-Za-z_][A-Za-z0-9_]*)(?::-([^}]*))?\}|\$\{/g;

/** `text` with its variables replaced; where there are faults the text is of no use. */
export function expandVariables(text: string, env: Environment): Expansion {
  if (!text.includes("${")) return { text, changed: false, faults: [] };
  const faults: string[] = [];
  let changed = false;
  const expanded = text.replace(REFERENCE, (found, name?: string, fallback?: string) => {
    if (found === "$${") return "${";
    if (name === undefined) {
      faults.push(
        `has a \${ that is no variable: write \${NAME} or \${NAME:-default}, or $\${ for a plain \${`,
      );
      return found;
    }
    const value = Object.hasOwn(env, name) ? env[name] : undefined;
    changed = true;
    if (value !== undefined && (value !== "" || fallback === undefined)) return value;
    if (fallback !== undefined) return fallback;
    faults.push(`needs the environment variable ${name}: set it or write \${${name}:-default}`);
    return found;
  });
  return { text: expanded, changed, faults };
}
