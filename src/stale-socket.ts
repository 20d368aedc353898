/** Socket files that whoever made them left behind. */

import * as fs from "node:fs";
import * as net from "node:net";
import { KvError } from "./errors.ts";

/**
 * Removes the socket file where nobody listens at it any more. Throws LOCKED where somebody does, with the hint, and IO where the file is
 * something else.
 */
export async function removeStaleSocket(file: string, hint: string): Promise<void> {
  const stat = fs.lstatSync(file, { throwIfNoEntry: false });
  if (stat === undefined) return;
  if (!stat.isSocket()) throw new KvError("IO", `${file} is there and is no socket`);
  const isAlive = await new Promise<boolean>((resolve) => {
    const socket = net.connect(file, () => {
      socket.destroy();
      resolve(true);
    });
    socket.on("error", () => resolve(false));
  });
  if (isAlive) throw new KvError("LOCKED", `another process listens on ${file}`, { hint });
  fs.rmSync(file, { force: true });
}
