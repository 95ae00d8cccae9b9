/**
 * PEM texts taken apart. Nothing in here looks at what a block contains, and no message quotes one: a block may be a key.
 * RFC 7468, explanatory text around the blocks allowed.
 */

export interface PemBlock {
  /** What stands behind BEGIN, e.g. `CERTIFICATE`. */
  readonly label: string;
  /** The block itself, with its two lines and a line end. */
  readonly text: string;
}

const BLOCK = /-----BEGIN ([A-Z0-9 ]+)-----\r?\n[\s\S]*?-----END \1-----/g;

/** All blocks in order. */
export function pemBlocks(text: string): PemBlock[] {
  return Array.from(text.matchAll(BLOCK), (found) => ({ label: found[1]!, text: `${found[0]}\n` }));
}

/** The texts of all blocks with this label. */
export function pemTexts(text: string, label: string): string[] {
  return pemBlocks(text)
    .filter((block) => block.label === label)
    .map((block) => block.text);
}

/** The bytes of one block. */
export function pemBytes(block: string): Buffer {
  return Buffer.from(block.replace(/-----[^-]+-----/g, ""), "base64");
}

/** One block of these bytes. */
export function pemText(label: string, bytes: ArrayBuffer): string {
  const body = Buffer.from(bytes)
    .toString("base64")
    .replace(/.{64}(?=.)/g, "$&\n");
  return `-----BEGIN ${label}-----\n${body}\n-----END ${label}-----\n`;
}
