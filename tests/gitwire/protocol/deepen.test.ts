/** Where a shallow history ends: the same requests to git's upload-pack and to ours, in both object formats. */

import { expect, setDefaultTimeout, test } from "bun:test";
import type { FetchRequest } from "../../../src/gitwire/protocol/fetch-request.ts";
import { openRepository } from "../../../src/gitwire/repo.ts";
import { askGit, askOurs, type FetchAnswer } from "../../support/fetch-oracle.ts";
import { git } from "../../support/git.ts";
import { randomHistory } from "../../support/history.ts";
import { type Random, random } from "../../support/random.ts";
import { newServer } from "../../support/served.ts";
import { tempDir } from "../../support/temp.ts";
import { TEST_FORMAT } from "../../support/test-format.ts";

// Many processes of git, on machines that may be busy.
setDefaultTimeout(120_000);

const lines = (text: string): string[] => (text === "" ? [] : text.split("\n"));

/** Asks both and holds what they say about the ends of the history against each other. */
async function askBoth(
  dir: string,
  request: Partial<FetchRequest>,
): Promise<{ ours: FetchAnswer; theirs: FetchAnswer }> {
  const repo = openRepository(dir);
  const full = { done: true, ofsDelta: true, noProgress: true, ...request };
  const [ours, theirs] = [await askOurs(repo, full), await askGit(dir, repo.format, full)];
  repo.close();
  // By date or by ref git also names ends that lie behind other ends: it does not send them, and a client that lists what it
  // has not got can never be deepened again.
  const isRange = request.deepenSince !== undefined || request.deepenNot !== undefined;
  const unsent = [...theirs.shallow].filter((oid) => isRange && !ours.shallow.has(oid) && !theirs.objects.has(oid));
  const shallow = new Set([...ours.shallow, ...unsent]);
  expect([request, shallow, ours.unshallow]).toEqual([request, theirs.shallow, theirs.unshallow]);
  return { ours, theirs };
}

/** Some way to say how deep. */
function someDepth(dir: string, rnd: Random): Partial<FetchRequest> {
  const dates = lines(git(dir, "log", "--all", "--format=%ct"));
  switch (rnd.int(4)) {
    case 0:
      return { deepenSince: Number(rnd.pick(dates)) };
    case 1:
      return { deepenNot: [rnd.pick(["refs/heads/side", "side", "heads/main"])] };
    default:
      return { deepen: 1 + rnd.int(rnd.int(2) === 0 ? 4 : 15) };
  }
}

for (const format of [TEST_FORMAT.name]) {
  test(`a shallow clone gets what git sends, ${format}`, async () => {
    const rnd = random(`shallow ${format}`);
    const dir = newServer(format);
    const history = randomHistory(dir, rnd);
    let selected = 0;
    for (let round = 0; round < 14; round++) {
      if (round % 5 === 0) history.grow(25);
      const all = lines(git(dir, "for-each-ref", "--format=%(objectname)"));
      const wants = Array.from({ length: 1 + rnd.int(2) }, () => rnd.pick(all));
      const depth = someDepth(dir, rnd);
      try {
        const { ours, theirs } = await askBoth(dir, { wants, ...depth });
        expect([depth, ours.objects]).toEqual([depth, theirs.objects]);
        selected++;
      } catch (error) {
        // Where nothing is left git just hangs up; it must have been for that reason.
        if (!String(error).includes("no commits selected")) throw error;
        await expect(askGit(dir, openRepository(dir).format, { wants, ...depth, done: true })).rejects.toThrow();
      }
    }
    expect(selected).toBeGreaterThan(6);
  });

  test(`a shallow clone that is fetched into deeper, less deep and further on, ${format}`, async () => {
    const rnd = random(`deepen ${format}`);
    const dir = newServer(format);
    const history = randomHistory(dir, rnd);
    history.grow(40);
    const infinite = 0x7fffffff;
    const sent = { ours: 0, theirs: 0 };
    for (let round = 0; round < 12; round++) {
      const want = git(dir, "rev-parse", "main");
      const [first = want] = lines(git(dir, "rev-list", "--first-parent", `--skip=${rnd.int(4)}`, "-n1", "main"));
      const before = await askBoth(dir, { wants: [first], deepen: 1 + rnd.int(5) });
      const shallow = [...before.ours.shallow];
      const change: Partial<FetchRequest> = rnd.pick([
        {},
        { deepen: 1 + rnd.int(12) },
        { deepen: 1 + rnd.int(3), deepenRelative: true },
        { deepen: infinite },
        { deepenNot: ["side"] },
      ]);
      const request = { wants: [want], haves: [first], shallow, ...change };
      const hasNone = change.deepenNot !== undefined && git(dir, "rev-list", "main", "--not", "side") === "";
      if (hasNone) continue;
      const { ours, theirs } = await askBoth(dir, request);
      // All that git sends and the client has not got.
      expect([...theirs.objects].filter((oid) => !before.ours.objects.has(oid) && !ours.objects.has(oid))).toEqual([]);
      sent.ours += ours.objects.size;
      sent.theirs += theirs.objects.size;
      if (round === 6) history.grow(10);
    }
    // Hardly anything more than git sends. A single answer may hold a dozen objects that only git knows the client to have.
    expect(sent.ours).toBeLessThanOrEqual(sent.theirs * 1.1 + 40);
  });

  test(`a repository that is shallow itself, ${format}`, async () => {
    const rnd = random(`shallow server ${format}`);
    const origin = newServer(format);
    randomHistory(origin, rnd).grow(40);
    for (const depth of [1, 3, 6]) {
      const dir = `${tempDir("shallow")}/s`;
      git("/", "clone", "-q", "--mirror", `--depth=${depth}`, `file://${origin}`, dir);
      const wants = lines(git(dir, "for-each-ref", "--format=%(objectname)", "refs/heads"));
      for (const request of [{}, { deepen: 2 }, { deepen: 0x7fffffff }, { deepen: 100 }]) {
        const { ours, theirs } = await askBoth(dir, { wants, ...request });
        expect([depth, request, ours.objects]).toEqual([depth, request, theirs.objects]);
      }
    }
  });
}
