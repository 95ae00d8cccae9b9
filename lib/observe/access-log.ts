/**
 * Ended records on their way to lines. They wait here and are folded many at a time: between two system calls the code that
 * makes a line has left the CPU's caches, and the first of a row pays for bringing it back (measured: with a line at every end
 * a short connection costs 21.4 µs of user time, like this 19.5). Their texts are encoded together for the same reason.
 * Invariant: what waits is bounded, by TOGETHER records here and by the slots of the lines.
 */
import { type LineWriter, TEXT_MOST } from "./lines.ts";
import { accessLine, type ConnectionRecord } from "./record.ts";

// Few enough that a scavenge which meets them has next to nothing to copy.
const TOGETHER = 64;

export class AccessLog {
  readonly #lines: LineWriter;
  readonly #lost: (count: number) => void;
  #ended: ConnectionRecord[] = [];

  /** `lost` hears of the records for which the lines have no room. */
  constructor(lines: LineWriter, lost: (count: number) => void) {
    this.#lines = lines;
    this.#lost = lost;
  }

  /** Whether anything is here that was not handed over. */
  get waiting(): boolean {
    return this.#ended.length > 0 || this.#lines.waiting;
  }

  /** Takes a record that will not change any more. */
  add(record: ConnectionRecord): void {
    this.#ended.push(record);
    if (this.#ended.length === TOGETHER) this.#fold();
  }

  /** Hands over what there is, unless whoever reads the log is behind: see `LineWriter.offer`. */
  offer(): void {
    this.#fold();
    this.#lines.offer();
  }

  /** Hands over what there is. */
  flush(): void {
    this.#fold();
    this.#lines.flush();
  }

  #fold(): void {
    // Records have monotonic times; what the clock on the wall showed then follows from what both show now.
    const epoch = Date.now() - performance.now();
    const records = this.#ended;
    this.#ended = [];
    let text = "";
    let count = 0;
    for (const record of records) {
      const line = accessLine(record, Math.round(epoch + record.started + record.durationMs));
      if (text.length + line.length > TEXT_MOST) {
        this.#hand(text, count);
        text = "";
        count = 0;
      }
      text += line;
      count++;
    }
    this.#hand(text, count);
  }

  #hand(text: string, lines: number): void {
    if (text !== "" && !this.#lines.add(text)) this.#lost(lines);
  }
}
