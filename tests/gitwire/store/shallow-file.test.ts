/** The shallow file: read and written as git does, under git's lock. */

import { expect, setDefaultTimeout, test } from "bun:test";
import * as fs from "node:fs";
import { readShallow, updateShallow } from "../../../src/gitwire/store/shallow-file.ts";
import { git } from "../../support/git.ts";
import { repositoryWith } from "../../support/push.ts";
import { codeOf } from "../../support/streams.ts";
import { tempDir } from "../../support/temp.ts";
import { TEST_FORMAT } from "../../support/test-format.ts";

// One test waits for a lock as long as anybody does.
setDefaultTimeout(30_000);

test("what we write git reads, what git writes we read", async () => {
  const { dir, commits } = repositoryWith(4);
  expect(readShallow(dir, TEST_FORMAT)).toEqual([]);
  await updateShallow(dir, TEST_FORMAT, (now) => [...now, commits[2]!, commits[2]!]);
  expect(git(dir, "rev-list", "--count", "main")).toBe("2");
  const clone = `${tempDir("shallow")}/c`;
  git("/", "clone", "-q", "--bare", "--depth=3", `file://${repositoryWith(5).dir}`, clone);
  expect(readShallow(clone, TEST_FORMAT)).toEqual([git(clone, "rev-parse", "main~2")]);
  await updateShallow(dir, TEST_FORMAT, () => []);
  expect(fs.existsSync(`${dir}/shallow`)).toBe(false);
  expect(git(dir, "rev-list", "--count", "main")).toBe("4");
});

test("a change that fails, a lock that is held, a file with other lines", async () => {
  const { dir, commits } = repositoryWith(2);
  await updateShallow(dir, TEST_FORMAT, () => [commits[1]!]);
  const failing = updateShallow(dir, TEST_FORMAT, () => {
    throw new Error("no");
  });
  await expect(failing).rejects.toThrow("no");
  expect(readShallow(dir, TEST_FORMAT)).toEqual([commits[1]!]);
  expect(fs.existsSync(`${dir}/shallow.lock`)).toBe(false);
  fs.writeFileSync(`${dir}/shallow.lock`, "");
  expect(await codeOf(() => updateShallow(dir, TEST_FORMAT, () => []))).toBe("LOCKED");
  expect(readShallow(dir, TEST_FORMAT)).toEqual([commits[1]!]);
  fs.writeFileSync(`${dir}/shallow`, "what is this\n");
  expect(await codeOf(async () => readShallow(dir, TEST_FORMAT))).toBe("CORRUPT");
});
