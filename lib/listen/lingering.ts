/** How many sockets without a connection wait for the other side to close. */

/**
 * So many streams of a worker may wait for their peers at once. They count as connections no more, so a crowd that is refused and
 * stays would take the descriptors that others need: beyond this one closes as soon as it has said its last words.
 */
export const LINGERING_MOST = 256;
