/** Text for a terminal of 80 columns: tables, sizes, spans of time. Pure. */

/** What every output of the command line fits into. */
export const COLUMNS = 80;
/** Between two columns of a table. */
const GAP = "  ";
// A column is not cut below this; beyond, the line is too long and whole.
const NARROWEST = 8;

/**
 * Rows under a head, in aligned columns; numbers stand to the right. Where a line would be too long, the widest texts are cut
 * in the middle: their ends tell names and addresses apart.
 */
export function table(
  head: readonly string[],
  rows: readonly (readonly (string | number)[])[],
  width = COLUMNS,
): string[] {
  const widths = head.map((title, column) =>
    Math.max(title.length, ...rows.map((row) => String(row[column]).length)),
  );
  const text = head.map((_, column) => rows.some((row) => typeof row[column] === "string"));
  const total = () => widths.reduce((sum, one) => sum + one, GAP.length * (head.length - 1));
  while (total() > width) {
    const widest = widths.reduce(
      (best, one, column) => (text[column] && one > (widths[best] ?? 0) ? column : best),
      -1,
    );
    const least = Math.max(NARROWEST, head[widest]?.length ?? 0);
    if (widest < 0 || widths[widest]! <= least) break;
    widths[widest]! -= 1;
  }
  const line = (cells: readonly (string | number)[]) =>
    cells
      .map((cell, column) => {
        const shown = cut(String(cell), widths[column]!);
        return text[column] ? shown.padEnd(widths[column]!) : shown.padStart(widths[column]!);
      })
      .join(GAP)
      .trimEnd();
  return [line(head), ...rows.map(line)];
}

/** At most `width` characters, with the middle left out where it is longer. */
export function cut(text: string, width: number): string {
  if (text.length <= width) return text;
  const front = Math.ceil((width - 1) / 2);
  return `${text.slice(0, front)}…${text.slice(text.length - (width - 1 - front))}`;
}

/** `1.5 MiB`; whole below a KiB. */
export function formatSize(bytes: number): string {
  let value = bytes;
  let unit = 0;
  while (value >= 1024 && unit < UNITS.length - 1) {
    value /= 1024;
    unit += 1;
  }
  return `${unit === 0 || value >= 100 ? Math.round(value) : value.toFixed(1)} ${UNITS[unit]}`;
}
const UNITS = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"] as const;

/** The two largest units of a span: `3 s`, `5 min`, `2 h 5 min`, `4 d 1 h`. */
export function formatSpan(seconds: number): string {
  if (seconds < 60) return `${Math.round(seconds)} s`;
  const minutes = Math.floor(seconds / 60);
  if (minutes < 60) return `${minutes} min`;
  const hours = Math.floor(minutes / 60);
  return hours < 24 ? `${hours} h ${minutes % 60} min` : `${Math.floor(hours / 24)} d ${hours % 24} h`;
}
