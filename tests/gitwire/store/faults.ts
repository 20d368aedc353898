/** Fails one chosen file-system call, as a full disk would, to see what is left behind. */

import { spyOn } from "bun:test";
import * as fs from "node:fs";

const CALLS = [
  "openSync",
  "writeSync",
  "writeFileSync",
  "fsyncSync",
  "fchmodSync",
  "renameSync",
  "mkdirSync",
  "ftruncateSync",
] as const;

const system = fs as unknown as Record<(typeof CALLS)[number], (...args: unknown[]) => unknown>;

/** Counts the calls while `run` runs, and throws ENOSPC from number `failAt` (from 0). Returns how many there were. */
export async function withFault(failAt: number, run: () => unknown): Promise<number> {
  let count = 0;
  const spies = CALLS.map((name) => {
    const original = system[name];
    return spyOn(system, name).mockImplementation((...args) => {
      if (count++ === failAt) {
        throw Object.assign(new Error(`ENOSPC: no space left on device, ${name}`), { code: "ENOSPC", syscall: name });
      }
      return original(...args);
    });
  });
  try {
    await run();
  } finally {
    for (const spy of spies) spy.mockRestore();
  }
  return count;
}

/** Runs `attempt` once for each call it makes, with that call failing; `check` looks at what is left each time. */
export async function failEveryCall(attempt: () => unknown, check: (failedAt: number) => unknown): Promise<number> {
  for (let failAt = 0; ; failAt++) {
    let failed = false;
    try {
      await withFault(failAt, attempt);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== "ENOSPC") throw error;
      failed = true;
    }
    if (!failed) return failAt;
    await check(failAt);
  }
}
