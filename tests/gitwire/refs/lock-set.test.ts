/** Locks: exclusive whoever asks, and those of dead processes are broken by exactly one of those who meet them. */

import { expect, test } from "bun:test";
import * as fs from "node:fs";
import * as path from "node:path";
import { type Disk, systemDisk } from "../../../src/gitwire/disk.ts";
import { LockSet } from "../../../src/gitwire/refs/lock-set.ts";
import { liveness, thisProcess } from "../../../src/gitwire/refs/process-identity.ts";
import { tempDir } from "../../support/temp.ts";
import { GONE, leftovers } from "./fixture.ts";

/** A file system without hard links. */
const NO_LINKS: Disk = {
  ...systemDisk,
  link: () => {
    throw Object.assign(new Error("EPERM"), { code: "EPERM" });
  },
};

for (const [name, disk] of [
  ["hard links", systemDisk],
  ["no hard links", NO_LINKS],
] as const) {
  test(`${name}: one holder at a time among many, all served`, async () => {
    const home = tempDir("locks");
    const files = ["a", "b", "c"].map((file) => path.join(home, "refs", file));
    let holders = 0;
    let served = 0;
    const work = async (): Promise<void> => {
      const locks = new LockSet({ disk, home });
      await locks.acquire(files);
      expect(++holders).toBe(1);
      await Bun.sleep(1);
      holders--;
      served++;
      locks.release();
    };
    await Promise.all(Array.from({ length: 20 }, work));
    expect(served).toBe(20);
    expect(leftovers(home)).toEqual([]);
  });

  test(`${name}: locks of a dead process are broken by those who meet them, one at a time`, async () => {
    for (let round = 0; round < 10; round++) {
      const home = tempDir("locks");
      const files = ["refs/a", "refs/b"].map((file) => path.join(home, file));
      const dead = new LockSet({ disk, home, identity: GONE });
      await dead.acquire(files);
      dead.stage(files[0]!, Buffer.from("half"));
      let holders = 0;
      const work = async (): Promise<void> => {
        const locks = new LockSet({ disk, home, wait: 2000 });
        await locks.acquire(files);
        expect(++holders).toBe(1);
        await Bun.sleep(1);
        holders--;
        locks.release();
      };
      await Promise.all(Array.from({ length: 5 }, work));
      expect(leftovers(home)).toEqual([]);
    }
  });
}

test("a breaker that died in its turn is broken too", async () => {
  const home = tempDir("locks");
  const file = path.join(home, "refs/a");
  const first = new LockSet({ disk: systemDisk, home, identity: GONE });
  await first.acquire([file]);
  // The breaker dies at each of its removals: the claim is taken, the lock is not gone yet.
  const dying: Disk = {
    ...systemDisk,
    unlink: () => {
      throw Object.assign(new Error("EIO"), { code: "EIO" });
    },
  };
  const second = new LockSet({ disk: dying, home, identity: GONE, wait: 0 });
  await second.acquire([file]).catch(() => {});
  expect(leftovers(home).some((name) => name.includes(".break."))).toBe(true);
  const third = new LockSet({ disk: systemDisk, home, wait: 1000 });
  await third.acquire([file]);
  third.release();
  third.sweep();
  third.release();
  expect(leftovers(home)).toEqual([]);
});

test("staged content appears whole, or never", async () => {
  const home = tempDir("locks");
  const file = path.join(home, "f");
  const locks = new LockSet({ disk: systemDisk, home });
  await locks.acquire([file]);
  locks.stage(file, Buffer.from("one"));
  expect(fs.existsSync(file)).toBe(false);
  locks.publish(file);
  expect(fs.readFileSync(file, "utf8")).toBe("one");
  locks.stage(file, Buffer.from("two"));
  locks.release();
  expect(fs.readFileSync(file, "utf8")).toBe("one");
  expect(leftovers(home)).toEqual([]);
});

test("a lock that is held says by whom", async () => {
  const home = tempDir("locks");
  const file = path.join(home, "f");
  const holder = new LockSet({ disk: systemDisk, home });
  await holder.acquire([file]);
  const other = new LockSet({ disk: systemDisk, home, wait: 0 });
  expect(other.acquire([file])).rejects.toMatchObject({ code: "LOCKED", data: { lock: `${file}.lock` } });
  expect(other.acquire([file])).rejects.toThrow(`process ${process.pid} on`);
  await Bun.sleep(1);
  other.release();
  holder.release();
});

test("who is alive, who is dead and who cannot be seen", () => {
  const self = thisProcess();
  expect(liveness(self)).toBe("alive");
  expect(liveness({ ...self, pid: 1, start: "-" })).toBe("alive");
  expect(liveness(GONE)).toBe("dead");
  expect(liveness({ ...self, boot: "earlier" })).toBe("dead");
  expect(liveness({ ...self, boot: "other", host: "elsewhere" })).toBe("unknown");
  expect(liveness({ ...self, namespace: "pid:[1]" })).toBe("unknown");
  if (self.start !== "-") expect(liveness({ ...self, start: "1" })).toBe("dead");
});
