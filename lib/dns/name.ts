/**
 * Domain names as the resolver keeps them: lower case, no trailing dot, the root as ".". Only names made of letters,
 * digits, hyphens and underscores are asked for or believed: a label with a dot, a NUL or a quote inside is legal on the
 * wire (RFC 2181 section 11) and useless as a service name, but would forge logs and certificate names. Pure.
 */

// RFC 1035 section 2.3.4: labels of 1 to 63 octets; 255 octets on the wire are 253 characters of text.
const NAME = /^(?=.{1,253}$)[A-Za-z0-9_-]{1,63}(?:\.[A-Za-z0-9_-]{1,63})*$/;

/** The kept form of a name as somebody wrote it, or null where it is not a name that can be asked for. */
export function canonicalName(text: string): string | null {
  if (text === ".") return ".";
  const bare = text.endsWith(".") ? text.slice(0, -1) : text;
  return NAME.test(bare) ? bare.toLowerCase() : null;
}

/** True where `name` is `zone` or lies beneath it. Both in kept form. */
export function isWithin(name: string, zone: string): boolean {
  return zone === "." || name === zone || name.endsWith(`.${zone}`);
}

/**
 * The domain that a service name speaks for: `_db._tcp.example.test` without its leading underscore labels
 * (RFC 2782: `_Service._Proto.Name`). A name of underscore labels only speaks for itself.
 */
export function serviceDomain(name: string): string {
  const labels = name.split(".");
  let first = 0;
  while (first < labels.length && labels[first]?.startsWith("_")) first++;
  return first === labels.length ? name : labels.slice(first).join(".");
}

/** The name with the case of each letter drawn at random (draft-vixie-dnsext-dns0x20). `random` yields 0 to 1. */
export function mixCase(name: string, random: () => number): string {
  let mixed = "";
  for (const letter of name) mixed += random() < 0.5 ? letter.toLowerCase() : letter.toUpperCase();
  return mixed;
}

/** RFC 6761 section 6.3: `localhost` and names beneath it are this machine and never leave it. */
export function isLocalhost(name: string): boolean {
  return isWithin(name, "localhost");
}

/** Any text as it may be shown in a log or on a terminal: one line of ASCII, cut where it is longer than a name can be. */
export function printable(text: string): string {
  const cut = text.length > 256 ? `${text.slice(0, 256)}…` : text;
  return cut.replace(
    /[^\x20-\x7e…]/g,
    (letter) => `\\u${letter.charCodeAt(0).toString(16).padStart(4, "0")}`,
  );
}
