/**
 * IP literals as numbers: up to four 32-bit words, most significant first, so that an address can be compared and encoded
 * without strings or BigInt. Invariant: an IPv4-mapped IPv6 address (RFC 4291 section 2.5.5.2) is always family 4.
 * Reads RFC 4291 section 2.2 text, writes RFC 5952 text. A zone (`fe80::1%eth0`) is read and dropped.
 */

/** 0: not an address. */
export type Family = 0 | 4 | 6;

const DOT = 46;
const COLON = 58;

/**
 * Reads an IP literal (no brackets) into `words` and returns its family; 0 leaves `words` undefined. An IPv4 address is
 * `words[0]`, an IPv6 one all four. `words` needs room for four. Never throws, allocates nothing.
 */
export function readIp(text: string, words: Uint32Array): Family {
  for (let i = 0; i < text.length && i < 5; i++) {
    const code = text.charCodeAt(i);
    if (code === DOT) return readIp4(text, 0, text.length, words, 0) ? 4 : 0;
    if (code === COLON) return readIp6(text, words);
  }
  return 0;
}

/** Dotted quad without leading zeros, as inet_pton(3) has it. */
function readIp4(text: string, start: number, end: number, words: Uint32Array, at: number): boolean {
  let value = 0;
  let octet = -1;
  let dots = 0;
  for (let i = start; i < end; i++) {
    const code = text.charCodeAt(i);
    if (code === DOT) {
      if (octet < 0 || ++dots > 3) return false;
      value = value * 256 + octet;
      octet = -1;
    } else if (code >= 48 && code <= 57) {
      if (octet === 0) return false;
      octet = octet < 0 ? code - 48 : octet * 10 + code - 48;
      if (octet > 255) return false;
    } else {
      return false;
    }
  }
  if (octet < 0 || dots !== 3) return false;
  words[at] = value * 256 + octet;
  return true;
}

const groups = new Uint16Array(8);
const tail = new Uint32Array(1);

function readIp6(text: string, words: Uint32Array): Family {
  let end = text.indexOf("%");
  if (end < 0) end = text.length;
  else if (end === text.length - 1 || text.includes("%", end + 1)) return 0;
  let count = 0; // groups read
  let gap = -1; // where "::" stood, in groups
  let i = 0;
  if (text.charCodeAt(0) === COLON) {
    if (text.charCodeAt(1) !== COLON) return 0;
    gap = 0;
    i = 2;
  }
  while (i < end) {
    if (count === 8) return 0;
    let value = 0;
    let stop = i;
    let code = 0;
    for (; stop < end; stop++) {
      code = text.charCodeAt(stop);
      const digit = hexDigit(code);
      if (digit < 0) break;
      value = value * 16 + digit;
      if (stop - i >= 4) return 0;
    }
    if (stop === i) return 0;
    if (stop < end && code === DOT) {
      // An IPv4 tail takes the place of the last two groups.
      if (count > 6 || !readIp4(text, i, end, tail, 0)) return 0;
      groups[count++] = tail[0]! >>> 16;
      groups[count++] = tail[0]! & 0xffff;
      break;
    }
    groups[count++] = value;
    if (stop === end) break;
    if (code !== COLON) return 0;
    i = stop + 1;
    if (i < end && text.charCodeAt(i) === COLON) {
      if (gap >= 0) return 0;
      gap = count;
      i++;
    } else if (i >= end) {
      return 0;
    }
  }
  if (gap < 0 ? count !== 8 : count > 7) return 0;
  if (gap >= 0) {
    groups.copyWithin(8 - (count - gap), gap, count);
    groups.fill(0, gap, 8 - (count - gap));
  }
  for (let w = 0; w < 4; w++) words[w] = groups[2 * w]! * 65536 + groups[2 * w + 1]!;
  return unmap(words);
}

/** Turns the four words of a mapped address into an IPv4 one. */
function unmap(words: Uint32Array): 4 | 6 {
  if (words[0] !== 0 || words[1] !== 0 || words[2] !== 0xffff) return 6;
  words[0] = words[3]!;
  return 4;
}

function hexDigit(code: number): number {
  if (code >= 48 && code <= 57) return code - 48;
  const lower = code | 32;
  return lower >= 97 && lower <= 102 ? lower - 87 : -1;
}

/** Dotted quad of one word. */
export function formatIp4(word: number): string {
  return `${word >>> 24}.${(word >>> 16) & 255}.${(word >>> 8) & 255}.${word & 255}`;
}

/** RFC 5952 text of four words; a mapped address comes out as plain IPv4, as everywhere in Millrace. */
export function formatIp6(words: Uint32Array): string {
  if (words[0] === 0 && words[1] === 0 && words[2] === 0xffff) return formatIp4(words[3]!);
  const parts: number[] = [];
  for (let w = 0; w < 4; w++) parts.push(words[w]! >>> 16, words[w]! & 0xffff);
  // The longest run of zero groups, the first of equals, two at least, becomes "::" (RFC 5952 section 4.2).
  let from = -1;
  let length = 1;
  for (let i = 0; i < 8; i++) {
    let run = 0;
    while (i + run < 8 && parts[i + run] === 0) run++;
    if (run > length) {
      from = i;
      length = run;
    }
    i += run;
  }
  const hex = parts.map((part) => part.toString(16));
  if (from < 0) return hex.join(":");
  return `${hex.slice(0, from).join(":")}::${hex.slice(from + length).join(":")}`;
}
