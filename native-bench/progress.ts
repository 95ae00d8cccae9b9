/** One line that tells on a terminal where a long run is; elsewhere one line per piece of work. */

export interface Progress {
  /** `total` steps lie ahead. */
  begin(total: number): void;
  step(work: string, contender: string, what: string): void;
  /** A line that stays. */
  say(text: string): void;
  end(): void;
}

export function createProgress(out: NodeJS.WriteStream): Progress {
  let total = 0;
  let done = 0;
  let last = "";
  const begun = Date.now();
  const clear = (): void => {
    if (out.isTTY) out.write("\r\x1b[K");
  };
  return {
    begin(steps) {
      total = steps;
    },
    step(work, contender, what) {
      done++;
      if (out.isTTY) {
        const percent = total ? Math.min(99, Math.floor((100 * done) / total)) : 0;
        const seconds = Math.round((Date.now() - begun) / 1000);
        clear();
        out.write(
          `${percent} %  ${seconds} s  ${work}  ${contender}  ${what}`.slice(0, (out.columns ?? 80) - 1),
        );
      } else if (work !== last) {
        out.write(`${work}\n`);
      }
      last = work;
    },
    say(text) {
      clear();
      out.write(`${text}\n`);
    },
    end: clear,
  };
}
