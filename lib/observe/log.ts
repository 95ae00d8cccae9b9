/**
 * The log: events of the proxy and access lines of connections, one JSON object per line on one destination. Writing never
 * blocks: the destination is asynchronous, and what a blocked reader leaves behind is bounded by whoever counts `pending`
 * (the workers, for access lines) and by `maxLength` (for events).
 */
import { type Logger, pino } from "pino";
import pretty from "pino-pretty";
import type { LogConfig } from "../config/config.ts";

export interface Log {
  readonly events: Logger;
  /** Hands over finished lines (each with its newline). `written` is called once they have left the process's memory. */
  lines(text: string, written: () => void): void;
  /** Applies the level of a new configuration. Format and destination stay. */
  level(level: LogConfig["level"]): void;
  /** Writes out what is buffered; nothing is taken any more. A reader that does not read is waited for no longer than `ms`. */
  close(ms: number): Promise<void>;
}

// Events past this are dropped by the destination; the access lines have a bound of their own.
const MAX_BUFFERED = 16 * 1024 * 1024;
// One write(2) takes a whole batch of access lines.
const MAX_WRITE = 256 * 1024;

/** Opens the log on a descriptor (1: standard output). */
export function openLog(
  config: LogConfig,
  descriptor = 1,
  terminal: boolean = process.stdout.isTTY === true,
): Log {
  const destination = pino.destination({
    dest: descriptor,
    sync: false,
    maxLength: MAX_BUFFERED,
    maxWrite: MAX_WRITE,
  } as Parameters<typeof pino.destination>[0]);
  const format = config.format === "auto" ? (terminal ? "pretty" : "json") : config.format;
  const out =
    format === "json"
      ? destination
      : pretty({ destination, colorize: terminal, ignore: "pid,hostname", translateTime: "SYS:HH:MM:ss.l" });
  const events = pino(
    {
      level: config.level,
      base: null,
      formatters: { level: (label) => ({ level: label }) },
    },
    out,
  );
  // Batches in the order they were handed over, each gone when as many bytes have been written. Events are written in between,
  // so a batch may be called gone a little early; an empty destination settles the account.
  let batches: { length: number; written: () => void }[] = [];
  let gone = 0;
  destination.on("write", (bytes: number) => {
    gone += bytes;
    while (batches.length > 0 && batches[0]!.length <= gone) {
      const batch = batches.shift()!;
      gone -= batch.length;
      batch.written();
    }
  });
  destination.on("drain", () => {
    const settled = batches;
    batches = [];
    gone = 0;
    for (const batch of settled) batch.written();
  });
  // A closed pipe (EPIPE) must not end the proxy; lines are then counted as dropped by the workers' bound.
  destination.on("error", () => {});
  return {
    events,
    lines: (text, written) => {
      batches.push({ length: text.length, written });
      out.write(text);
    },
    level: (level) => {
      events.level = level;
    },
    close: (ms) =>
      new Promise((resolve) => {
        // Who still has something to say finds nobody, not a closed stream.
        events.level = "silent";
        // What is left is given up for good: pino would write it at the exit of the process, however long that takes.
        const giveUp = setTimeout(() => destination.destroy(), ms);
        destination.once("close", () => {
          clearTimeout(giveUp);
          resolve();
        });
        if (out === destination) destination.end();
        else out.end();
      }),
  };
}
