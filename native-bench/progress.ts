/** One line that tells on a terminal where a long run is and how long it will last; elsewhere one line per piece of work. */

export interface Progress {
  /** So many seconds lie ahead. */
  begin(seconds: number): void;
  /** What is being done now, and how many of those seconds it was meant to take. */
  step(work: string, contender: string, what: string, seconds: number): void;
  /** A line that stays. */
  say(text: string): void;
  end(): void;
}

/** Before so much is done, the estimate is better than what can be learnt from it. */
const LEARNT_SECONDS = 20;

export function duration(seconds: number): string {
  return seconds < 90 ? `${Math.max(1, Math.round(seconds))} s` : `${Math.round(seconds / 60)} min`;
}

export function createProgress(out: NodeJS.WriteStream, now: () => number = Date.now): Progress {
  let total = 0;
  let done = 0;
  /** Of the step that goes on. */
  let current = 0;
  let last = "";
  let begun = now();
  const clear = (): void => {
    if (out.isTTY) out.write("\r\x1b[K");
  };
  /** Runs that are repeated take longer than planned, contenders that fail take less. */
  const left = (): number => {
    const taken = (now() - begun) / 1000;
    const pace = done > LEARNT_SECONDS ? taken / done : 1;
    return Math.max(0, total - done) * pace;
  };
  return {
    begin(seconds) {
      total = seconds;
      begun = now();
    },
    step(work, contender, what, seconds) {
      done += current;
      current = seconds;
      if (out.isTTY) {
        const percent = total > 0 ? Math.min(99, Math.floor((100 * done) / total)) : 0;
        const text = `${percent} %  ${duration(left())} left  ${work}  ${contender}  ${what}`;
        clear();
        out.write(text.slice(0, (out.columns || 80) - 1));
      } else if (work !== last) {
        out.write(`${work}, about ${duration(left())} left\n`);
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
