/**
 * Texts that are made of the same few keys over and over: clients' addresses, server names, parts of access lines. Each is made
 * once and then shared. Bounded, because clients choose some of the keys. Pure but for that memory.
 */

// Beyond it the clients are a crowd, and a map no longer spares much.
const MOST = 4096;

/** `make`, remembering what it made. Past the bound it begins anew. */
export function remembered<K>(make: (key: K) => string): (key: K) => string {
  let texts = new Map<K, string>();
  return (key) => {
    const known = texts.get(key);
    if (known !== undefined) return known;
    if (texts.size === MOST) texts = new Map();
    const text = make(key);
    texts.set(key, text);
    return text;
  };
}

// Longer ones are rare, and are made each time.
const LONGEST = 64;

/**
 * The same for texts that are made of bytes, with room for `slots` (a power of two) of them: a text made later takes the place
 * of another. What `make` gives instead of a text is not remembered.
 */
export function rememberedBytes<T>(
  slots: number,
  make: (bytes: Uint8Array, from: number, end: number) => string | T,
): (bytes: Uint8Array, from: number, end: number) => string | T {
  const keys = new Uint8Array(slots * LONGEST);
  const texts = new Array<string | null>(slots).fill(null);
  const lengths = new Uint8Array(slots);
  return (bytes, from, end) => {
    const length = end - from;
    if (length > LONGEST) return make(bytes, from, end);
    let hash = length;
    for (let at = from; at < end; at++) hash = (Math.imul(hash, 31) + bytes[at]!) | 0;
    const slot = hash & (slots - 1);
    const key = slot * LONGEST;
    const known = texts[slot] ?? null;
    if (known !== null && lengths[slot] === length) {
      let same = 0;
      while (same < length && keys[key + same] === bytes[from + same]) same++;
      if (same === length) return known;
    }
    const text = make(bytes, from, end);
    if (typeof text !== "string") return text;
    for (let at = 0; at < length; at++) keys[key + at] = bytes[from + at]!;
    lengths[slot] = length;
    texts[slot] = text;
    return text;
  };
}
