/** Dates of the environment, held to what git can store. */

import { expect, test } from "bun:test";
import { KvError } from "../../src/errors.ts";
import { identFor } from "../../src/gitwire/ident.ts";
import { formatIdent } from "../../src/gitwire/object/commit.ts";
import { git } from "../support/git.ts";
import { tempDir } from "../support/temp.ts";

const clock = { now: () => 0, random: (length: number) => Buffer.alloc(length), utcOffset: () => 0 };
const config = { get: () => undefined };

function line(date: string): string {
  const env = { GIT_AUTHOR_NAME: "A", GIT_AUTHOR_EMAIL: "a@b", GIT_AUTHOR_DATE: date };
  return formatIdent(identFor("author", config, env, clock));
}

test("dates as git reads them", () => {
  const dir = tempDir("ident");
  git(dir, "init", "-q");
  for (const date of [
    "@1 +0000",
    "1700000000 -0330",
    "1700000000 +2359",
    "2020-01-01T10:00:00+05:30",
    "2020-01-01T00:00:00Z",
  ]) {
    const env = { GIT_AUTHOR_NAME: "A", GIT_AUTHOR_EMAIL: "a@b", GIT_AUTHOR_DATE: date };
    const run = Bun.spawnSync(["git", "var", "GIT_AUTHOR_IDENT"], { cwd: dir, env: { ...process.env, ...env } });
    expect(line(date)).toBe(run.stdout.toString().trim());
  }
});

test("no time that a commit cannot hold, and none that cannot be shown", () => {
  for (const date of ["1960-01-01T00:00:00Z", "1969-12-31T23:59:59Z", "@-1", "@253402300800", "@999999999999999 +0000"])
    expect(() => line(date)).toThrow(KvError);
  expect(line("@253402300799 +0000")).toBe("A <a@b> 253402300799 +0000");
  expect(line("1970-01-01T00:00:00Z")).toBe("A <a@b> 0 +0000");
});

test("no time zone that four digits cannot hold", () => {
  for (const date of ["1700000000 +9999", "1700000000 +0060", "2020-01-01T00:00:00-24:00", "bogus"])
    expect(() => line(date)).toThrow(KvError);
});
