/**
 * The right to listen at a socket file. Whether somebody does cannot be learned by connecting: one that does not accept and whose backlog
 * is full looks as if it were gone. So who listens holds a lock beside it, `<socket>.claim`, until the socket file is removed (docs/design/242).
 */

import * as fs from "node:fs";
import * as net from "node:net";
import { KvError, toKvError } from "./errors.ts";
import { FileLock } from "./file-lock.ts";

export class SocketClaim {
  readonly #file: string;
  readonly #lock: FileLock;

  private constructor(file: string, lock: FileLock) {
    this.#file = file;
    this.#lock = lock;
  }

  /**
   * Claims `file`; a socket that a dead process left there is removed. Throws LOCKED, with the hint, where somebody listens, and IO where
   * the file is something else or cannot be looked at.
   */
  static async take(file: string, hint: string): Promise<SocketClaim> {
    const stat = fs.lstatSync(file, { throwIfNoEntry: false });
    if (stat?.isSocket() === false) throw new KvError("IO", `${file} is there and is no socket`);
    const lock = lockOf(file);
    const taken = new KvError("LOCKED", `another process listens on ${file}`, { hint });
    if (lock === undefined) throw taken;
    const claim = new SocketClaim(file, lock);
    try {
      // Another program may listen there, which knows of no lock.
      if (await answers(file)) throw taken;
      fs.rmSync(file, { force: true });
      return claim;
    } catch (error) {
      claim.#unlock();
      throw toKvError(error);
    }
  }

  /** Removes the socket file, and lets another one listen there. */
  release(): void {
    try {
      fs.rmSync(this.#file, { force: true });
    } finally {
      this.#unlock();
    }
  }

  #unlock(): void {
    try {
      fs.rmSync(lockFile(this.#file), { force: true });
    } finally {
      this.#lock.release();
    }
  }
}

function lockFile(socket: string): string {
  return `${socket}.claim`;
}

/** The lock on the file that is there also when it is held: who had it removes it. Undefined where somebody has it. */
function lockOf(socket: string): FileLock | undefined {
  const file = lockFile(socket);
  while (true) {
    const before = inodeOf(file) ?? made(file);
    const lock = locked(file);
    if (lock === undefined || inodeOf(file) === before) return lock;
    lock.release();
  }
}

function inodeOf(file: string): bigint | undefined {
  return fs.statSync(file, { bigint: true, throwIfNoEntry: false })?.ino;
}

/** Makes the file where it is missing. Never opens one that is there: closing it would drop a lock this process has on it. */
function made(file: string): bigint | undefined {
  try {
    fs.writeFileSync(file, "", { flag: "wx", mode: 0o600 });
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "EEXIST") throw toKvError(error);
  }
  return inodeOf(file);
}

function locked(file: string): FileLock | undefined {
  try {
    return FileLock.take(file);
  } catch (cause) {
    const text = cause instanceof Error ? cause.message : String(cause);
    throw new KvError("IO", `the lock ${file}: ${text}`, {
      hint: "it holds nothing: where nobody listens at the socket, remove it",
      cause,
    });
  }
}

/** Whether somebody takes what connects to `file`. Throws where that cannot be told. */
function answers(file: string): Promise<boolean> {
  return new Promise((resolve, reject) => {
    const socket = net.connect(file, () => {
      socket.destroy();
      resolve(true);
    });
    socket.on("error", (error: NodeJS.ErrnoException) => {
      if (error.code === "ECONNREFUSED" || error.code === "ENOENT") resolve(false);
      else reject(error);
    });
  });
}
