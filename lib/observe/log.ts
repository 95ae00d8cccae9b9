/**
 * The log: events of the proxy and access lines of connections, one JSON object per line on one destination. Writing never
 * blocks: the destination is asynchronous, and what a blocked reader leaves behind is bounded, for access lines by the memory
 * they come in (lines.ts), for events here.
 */
import { type DestinationStream, type Logger, pino } from "pino";
import pretty from "pino-pretty";
import type { LogConfig } from "../config/config.ts";

type Destination = ReturnType<typeof pino.destination>;

export interface Log {
  readonly events: Logger;
  /**
   * Hands over finished lines in UTF-8, each with its newline. The bytes stay as they are until `written` is called, which must
   * be once they have left the process's memory (or been copied): a worker then has their memory again.
   */
  lines(bytes: Buffer, written: () => void): void;
  /** Applies the level of a new configuration. Format and destination stay. */
  level(level: LogConfig["level"]): void;
  /**
   * Writes out what is buffered; nothing is taken any more. A reader that does not read is waited for no longer than `ms`. A second
   * call joins the first.
   */
  close(ms: number): Promise<void>;
}

// Events past this are dropped; the access lines have a bound of their own (lines.ts).
const MAX_BUFFERED = 16 * 1024 * 1024;
// One write(2) takes a whole batch of access lines.
const MAX_WRITE = 1024 * 1024;

/** Opens the log on a descriptor (1: standard output). */
export function openLog(
  config: LogConfig,
  descriptor = 1,
  terminal: boolean = process.stdout.isTTY === true,
): Log {
  const plain = config.format === "auto" ? !terminal : config.format === "json";
  return plain ? openPlain(config, descriptor) : openPretty(config, descriptor, terminal);
}

/** JSON lines. Everything is bytes on its way out: access lines leave as they came, which as strings would be encoded twice more. */
function openPlain(config: LogConfig, descriptor: number): Log {
  const destination = openDestination(descriptor, "buffer");
  // What was handed to the destination, in order: each is gone when as many bytes have been written.
  const pending: { readonly length: number; readonly written: (() => void) | null }[] = [];
  let gone = 0;
  /** Bytes of events among them. */
  let held = 0;
  const hand = (bytes: Buffer, written: (() => void) | null): void => {
    if (written === null) held += bytes.length;
    pending.push({ length: bytes.length, written });
    destination.write(bytes as unknown as string);
  };
  destination.on("write", (count: number) => {
    gone += count;
    while (pending.length > 0 && pending[0]!.length <= gone) {
      const { length, written } = pending.shift()!;
      gone -= length;
      if (written === null) held -= length;
      else written();
    }
  });
  const write = (text: string): void => {
    if (held < MAX_BUFFERED) hand(Buffer.from(text), null);
  };
  return assemble(config, { write }, destination, () => destination.end(), hand);
}

/** For people: colours and aligned fields. */
function openPretty(config: LogConfig, descriptor: number, terminal: boolean): Log {
  const destination = openDestination(descriptor, "utf8");
  const out = pretty({
    destination,
    colorize: terminal,
    ignore: "pid,hostname",
    translateTime: "SYS:HH:MM:ss.l",
  });
  // Lines become texts of another length here, so they are called gone when nothing waits any more.
  let pending: (() => void)[] = [];
  destination.on("drain", () => {
    const settled = pending;
    pending = [];
    for (const written of settled) written();
  });
  return assemble(
    config,
    out,
    destination,
    () => out.end(),
    (bytes, written) => {
      pending.push(written);
      out.write(bytes.toString());
    },
  );
}

function openDestination(descriptor: number, contentMode: "buffer" | "utf8"): Destination {
  const destination = pino.destination({
    dest: descriptor,
    sync: false,
    maxLength: contentMode === "utf8" ? MAX_BUFFERED : 0,
    maxWrite: MAX_WRITE,
    contentMode,
  } as Parameters<typeof pino.destination>[0]);
  // A closed pipe (EPIPE) must not end the proxy; lines are then dropped once the workers' memory for them is full.
  destination.on("error", () => {});
  return destination;
}

function assemble(
  config: LogConfig,
  out: DestinationStream,
  destination: Destination,
  end: () => void,
  lines: Log["lines"],
): Log {
  const events = pino(
    { level: config.level, base: null, formatters: { level: (label) => ({ level: label }) } },
    out,
  );
  let closing: Promise<void> | null = null;
  return {
    events,
    lines: (bytes, written) => {
      if (closing === null) lines(bytes, written);
      else written();
    },
    level: (level) => {
      events.level = level;
    },
    close: (ms) => {
      closing ??= new Promise((resolve) => {
        // Who still has something to say finds nobody, not a closed stream.
        events.level = "silent";
        const giveUp = setTimeout(() => {
          // What is left is given up for good: pino would write it at the exit of the process, however long that takes.
          destination.destroy();
          // A closed pipe is not told: pino takes every method from a destination that met one.
          resolve();
        }, ms);
        destination.once("close", () => {
          clearTimeout(giveUp);
          resolve();
        });
        end();
      });
      return closing;
    },
  };
}
