/** See the interfaces; the wheel itself follows. */
export interface Timer {
  /** Starts, or starts again, to fire once in `ms` (rounded up to the wheel's tick). */
  start(ms: number): void;
  stop(): void;
}
