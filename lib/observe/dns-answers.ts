/**
 * DNS resolutions of this process by name and result: `millrace_dns_answers_total`. Kept apart from the sources that they
 * come from, because those are replaced at a reload and a counter never goes back.
 */
export class DnsAnswers {
  readonly #totals = new Map<string, Map<string, number>>();

  /** Counts one; bound to its object, so that it can be handed on. */
  readonly count = (name: string, result: string): void => {
    let results = this.#totals.get(name);
    if (results === undefined) {
      results = new Map();
      this.#totals.set(name, results);
    }
    results.set(result, (results.get(result) ?? 0) + 1);
  };

  totals(): { readonly name: string; readonly result: string; readonly total: number }[] {
    return [...this.#totals].flatMap(([name, results]) =>
      [...results].map(([result, total]) => ({ name, result, total })),
    );
  }
}
