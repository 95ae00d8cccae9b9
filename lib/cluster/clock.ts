/**
 * Time for the control half of the cluster room, as an argument, so that tests can turn it by hand. Workers never use it.
 */
export interface Clock {
  /** Unix ms that never step back. */
  now(): number;
  /** Calls `run` once in `ms`; the returned function cancels. Keeps no process alive. */
  after(ms: number, run: () => void): () => void;
}

export const systemClock: Clock = {
  now: () => performance.timeOrigin + performance.now(),
  after(ms, run) {
    const timer = setTimeout(run, ms).unref();
    return () => clearTimeout(timer);
  },
};
