/**
 * Standard descriptors without the streams of `process`. `process.stdout` loses what a pipe has not taken when the process
 * exits; a loop over write(2) does not.
 */

import * as fs from "node:fs";

/**
 * Writes all of `bytes` to `fd`, waiting while a non-blocking descriptor is full.
 *
 * @throws the system's error, EPIPE where nobody reads any more
 */
export function writeFully(fd: number, bytes: Uint8Array): void {
  for (let at = 0; at < bytes.length; ) {
    try {
      at += fs.writeSync(fd, bytes, at, bytes.length - at);
    } catch (error) {
      const code = (error as NodeJS.ErrnoException).code;
      // Whoever gave us the descriptor made it non-blocking (a terminal shared with node does that).
      if (code === "EAGAIN") pause();
      else if (code !== "EINTR") throw error;
    }
  }
}

/** Waits for a millisecond. By itself: the runtime makes the globals that a function names when it is first called, which takes 0.2 ms. */
function pause(): void {
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 1);
}

/** Whether `fd` is a terminal. */
export function isTerminal(fd: number): boolean {
  // Loading node:tty costs 3 ms of start-up, more than the rest of a verb; files, pipes and /dev/null need no look.
  try {
    const stat = fs.fstatSync(fd);
    if (!stat.isCharacterDevice() || stat.rdev === fs.statSync("/dev/null").rdev) return false;
  } catch {
    return false;
  }
  return process.getBuiltinModule("node:tty").isatty(fd);
}
