/** How many clients the kernel queues for a listener until they are accepted. listen(2). */

/** Enough for every core's listeners to queue a burst; the kernel caps it at net.core.somaxconn. */
export const BACKLOG = 4096;
