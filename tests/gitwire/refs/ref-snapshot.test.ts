/** What the cursor over a snapshot shows, held against `git for-each-ref`, whatever lies packed, loose, or in the way. */

import { expect, setDefaultTimeout, test } from "bun:test";
import * as fs from "node:fs";
import * as path from "node:path";
import { SHA1, SHA256 } from "../../../src/gitwire/object/oid.ts";
import type { RefSnapshot } from "../../../src/gitwire/refs/ref-snapshot.ts";
import { git, gitInput } from "../../support/git.ts";
import { type Random, random } from "../../support/random.ts";
import { TEST_FORMAT } from "../../support/test-format.ts";
import { type Fixture, makeFixture, newRepository, openRefs } from "./fixture.ts";

setDefaultTimeout(120_000);

/** "oid peeled name symref" of every ref, as the cursor shows it. */
function shown(view: RefSnapshot, hides?: (name: string) => boolean): string[] {
  const lines: string[] = [];
  for (const cursor = view.cursor({ peel: true, hides }); cursor.next(); ) {
    lines.push(`${cursor.oid} ${cursor.peeled ?? ""} ${cursor.name} ${cursor.symref ?? ""}`);
  }
  return lines;
}

function gitShows(dir: string, ...patterns: string[]): string[] {
  const lines = git(dir, "for-each-ref", "--format=%(objectname) %(*objectname) %(refname) %(symref)", ...patterns);
  return lines === "" ? [] : lines.split("\n");
}

function someName(rnd: Random): string {
  const folder = rnd.pick(["heads", "tags", "kv", "notes", "worktree", "rewrote", "mé"]);
  const middle = rnd.pick(["", "v1.", "a/", "a.l/", "x@", "lock-", "{", "ü", "a--b/c_d/"]);
  return `refs/${folder}/${middle}${rnd.int(9)}${rnd.pick(["", "", ".locks", ".l", "}", "é"])}`;
}

for (const format of [SHA1, SHA256]) {
  test(`a snapshot holds what git for-each-ref shows, ${format.name}`, () => {
    const rnd = random(`snapshot ${format.name}`);
    const fixture = makeFixture(format);
    const commits = fixture.commits.slice(0, 3);
    const someValue = (name: string) => rnd.pick(name.startsWith("refs/heads/") ? commits : [...commits, fixture.tag]);
    for (let round = 0; round < 8; round++) {
      const names = [...new Set(Array.from({ length: rnd.int(40) }, () => someName(rnd)))];
      const free = names.filter((name) => !names.some((other) => other.startsWith(`${name}/`)));
      const some = (): Record<string, string> =>
        Object.fromEntries(free.filter(() => rnd.int(2) === 0).map((name) => [name, someValue(name)]));
      const dir = newRepository(fixture, { loose: some() });
      git(dir, "pack-refs", "--all", ...rnd.pick([["--prune"], ["--no-prune"]]));
      gitInput(
        dir,
        Object.entries(some())
          .map(([name, oid]) => `update ${name} ${oid}\n`)
          .join(""),
        "update-ref",
        "--stdin",
      );
      git(dir, "symbolic-ref", "refs/heads/symbolic", rnd.pick([...free, "refs/heads/nowhere"]));
      spoil(dir, fixture, rnd);
      const expected = gitShows(dir).filter((line) => !/^\w+ \w* refs\/worktree\//.test(line) || isLoose(dir, line));
      // Git's list ends at a line without an object; ours goes on.
      if (rnd.int(3) === 0) fs.appendFileSync(path.join(dir, "packed-refs"), `${format.zeroOid} refs/zz/zero\n`);
      const refs = openRefs(dir, fixture);
      const view = refs.view();
      expect(shown(view)).toEqual(expected);
      expect([...view.refs()].map(({ name }) => name)).toEqual(expected.map((line) => line.split(" ")[2]!));
      for (const { name, oid, symref } of view.refs()) {
        expect(view.find(name)).toEqual(symref === undefined ? { name, oid } : { name, oid, symref });
      }
      expect(view.find("refs/heads/none")).toBeUndefined();
      expect(shown(refs.view(["refs/tags/", "refs/heads/", "refs/heads/a"]))).toEqual(
        expected.filter((line) => /^\w+ \w* refs\/(?:heads|tags)\//.test(line)),
      );
      const hides = (name: string): boolean => name.startsWith("refs/kv/");
      expect(shown(view, hides)).toEqual(expected.filter((line) => !/^\w+ \w* refs\/kv\//.test(line)));
    }
  });
}

function isLoose(dir: string, line: string): boolean {
  return fs.existsSync(path.join(dir, line.split(" ")[2]!));
}

/** What a snapshot has to do without: other headers, ids in capitals, a damaged file over a packed ref, lines for no ref. */
function spoil(dir: string, fixture: Fixture, rnd: Random): void {
  const file = path.join(dir, "packed-refs");
  let text = fs.existsSync(file) ? fs.readFileSync(file, "latin1") : "# pack-refs with: peeled fully-peeled sorted \n";
  const [commit = ""] = fixture.commits;
  if (rnd.int(3) === 0) text = text.replace(" fully-peeled", "");
  if (rnd.int(4) === 0) text = text.replace(/\n([0-9a-f]+) /, (_, oid: string) => `\n${oid.toUpperCase()} `);
  if (rnd.int(2) === 0)
    text += `${commit} refs/zz/a..b\n${commit} refs/zz/b.lock\n${commit} refs/zz/c~1\n${commit} refs/zz/d\n`;
  fs.writeFileSync(file, text, "latin1");
  if (rnd.int(3) === 0 && text.includes("refs/zz/d")) {
    fs.mkdirSync(path.join(dir, "refs/zz"), { recursive: true });
    fs.writeFileSync(
      path.join(dir, "refs/zz/d"),
      rnd.pick(["", "ref: refs/heads/nowhere\n", `${"0".repeat(commit.length)}\n`]),
    );
  }
}

test("a snapshot stays as it is when the refs move", async () => {
  const fixture = makeFixture();
  const [first, second] = fixture.commits as [string, string];
  const dir = newRepository(fixture, { loose: { "refs/kv/a": first, "refs/kv/b": first } });
  const refs = openRefs(dir, fixture);
  git(dir, "pack-refs", "--all");
  const view = refs.view();
  const before = shown(view);
  const cursor = view.cursor();
  expect(cursor.next()).toBe(true);
  await refs.update(["refs/kv/a", "refs/kv/b"].map((name) => ({ name, oldOid: first, newOid: second })));
  expect(cursor.next()).toBe(true);
  expect([cursor.name, cursor.oid]).toEqual(["refs/kv/b", first]);
  expect(shown(view)).toEqual(before);
  expect(shown(refs.view())).toEqual(gitShows(dir));
  expect(TEST_FORMAT.hexSize).toBe(first.length);
});
