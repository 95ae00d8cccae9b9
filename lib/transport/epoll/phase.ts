/**
 * What a stream is doing; every edge and every turn on the ready list goes to that.
 *
 *   CONNECTING → IDLE ⇄ SNIFFING, SECURING → RELAYING → IDLE → LINGERING → CLOSED
 *
 * From every phase a reset leads to CLOSED, and `finish` to LINGERING, which ends by itself.
 */
export const IDLE = 0;
export const CONNECTING = 1;
export const SNIFFING = 2;
export const SECURING = 3;
export const RELAYING = 4;
export const LINGERING = 5;
export const CLOSED = 6;
