/**
 * How long a stream that the connection has let go of is kept, so that its last words arrive: closing with unread input sends
 * a reset, which can destroy an alert on its way. RFC 9293 section 3.6.1.
 */

/** ms. Long enough for an alert or the last bytes to be acknowledged across the world, short enough not to be a resource. */
export const LINGER_MS = 2_000;

/** A peer that goes on sending into a closed door is cut off after this much. */
export const LINGER_BYTES = 1 << 20;
