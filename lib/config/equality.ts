/** Whether two parts of configurations say the same: they are plain data in a fixed key order, so their texts decide. */
export function same(a: unknown, b: unknown): boolean {
  return JSON.stringify(a) === JSON.stringify(b);
}
