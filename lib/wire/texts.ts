/**
 * Texts that are made of the same few keys over and over: clients' addresses, names in access lines. Each is made once and then
 * shared. Bounded, because clients choose some of the keys: past the bound it begins anew. Pure but for that memory.
 */

// Beyond it the clients are a crowd, and a map no longer spares much.
const MOST = 4096;

/** `make`, remembering what it made. */
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
