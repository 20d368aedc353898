/** `git-kv-stargate fsck`: silent about a sound repository, and each kind of damage has its fault. */

import { Database } from "bun:sqlite";
import { beforeAll, expect, setDefaultTimeout, test } from "bun:test";
import * as fs from "node:fs";
import * as path from "node:path";
import { git, gitInput } from "../support/git.ts";
import { STARGATE_PROGRAM, TestClient, TestStargate } from "../support/stargate.ts";
import { tempDir } from "../support/temp.ts";
import { TEST_FORMAT } from "../support/test-format.ts";

setDefaultTimeout(60_000);

interface Fault {
  readonly part: string;
  readonly subject: string;
  readonly code: string;
  readonly message: string;
}

let sound: string;

async function check(dir: string): Promise<{ status: number; faults: Fault[]; summary: Record<string, number> }> {
  const child = Bun.spawn([...STARGATE_PROGRAM, "fsck", "--json", "--repo", dir], { stdout: "pipe", stderr: "pipe" });
  const [out, err, status] = await Promise.all([
    new Response(child.stdout).text(),
    new Response(child.stderr).text(),
    child.exited,
  ]);
  const lines = out
    .trim()
    .split("\n")
    .map((line) => JSON.parse(line) as { fault?: Fault; summary?: Record<string, number> });
  expect([err, lines.at(-1)?.summary]).toEqual(["", expect.anything() as unknown as Record<string, number>]);
  return { status, faults: lines.flatMap(({ fault }) => fault ?? []), summary: lines.at(-1)!.summary! };
}

/** A copy to damage. */
function copy(): string {
  const dir = path.join(tempDir("fsck"), "kv.git");
  fs.cpSync(sound, dir, { recursive: true });
  return dir;
}

function sql(dir: string, text: string): void {
  const db = new Database(path.join(dir, "stargate", "journal.db"));
  db.run(text);
  db.close();
}

beforeAll(async () => {
  const stargate = await TestStargate.start({ upkeep: false });
  const client = new TestClient(stargate.dir, stargate.loginUrl(stargate.token()));
  await client.set({ a: "1", b: "2" });
  await client.set({ a: "3" });
  await client.set({ x: "1" }, "other");
  await client.set({ b: undefined, c: "5" });
  // While the daemon runs nothing is wrong either.
  expect((await check(stargate.dir)).faults).toEqual([]);
  await stargate.stop();
  sound = stargate.dir;
});

test("a sound repository has no faults, and is not changed", async () => {
  const dir = copy();
  // A commit that no ref needs is no fault, as long as all is there that it leads to.
  const blob = gitInput(dir, "spare", "hash-object", "-w", "--stdin");
  git(dir, "commit-tree", "-m", "spare", gitInput(dir, `100644 blob ${blob}\tf\n`, "mktree"));
  const before = fs.readFileSync(path.join(dir, "config"), "utf8");
  const { status, faults, summary } = await check(dir);
  expect([status, faults]).toEqual([0, []]);
  expect(summary).toMatchObject({ faults: 0, namespaces: 2, transactions: 4, rows: 4 });
  expect(fs.readFileSync(path.join(dir, "config"), "utf8")).toBe(before);
  const run = Bun.spawnSync([...STARGATE_PROGRAM, "fsck", "--repo", dir], { stdout: "pipe" });
  expect(run.stdout.toString()).toMatch(
    /^\d+ refs, \d+ objects, 4 transactions in 2 namespaces, 4 journal rows\nno faults\n$/,
  );
});

/** The largest pack, whose damage hits objects that are read. */
function pack(dir: string): string {
  const folder = path.join(dir, "objects", "pack");
  const packs = fs.readdirSync(folder).filter((name) => name.endsWith(".pack"));
  return path.join(
    folder,
    packs.sort((a, b) => fs.statSync(path.join(folder, b)).size - fs.statSync(path.join(folder, a)).size)[0]!,
  );
}

const DAMAGES: readonly (readonly [string, (dir: string) => void, part: string, code: string, subject: RegExp])[] = [
  ["a hook is gone", (dir) => fs.rmSync(path.join(dir, "hooks", "pre-receive")), "hooks", "CONFIG", /hooks/],
  [
    "a ref's file is empty",
    (dir) => {
      fs.mkdirSync(path.join(dir, "refs/heads"), { recursive: true });
      fs.writeFileSync(path.join(dir, "refs/heads/broken"), "");
    },
    "refs",
    "CORRUPT",
    /refs\/heads\/broken/,
  ],
  [
    "a ref leads nowhere",
    (dir) => fs.writeFileSync(path.join(dir, "refs/heads/lost"), `${"1".repeat(40)}\n`),
    "refs",
    "CORRUPT",
    /refs\/heads\/lost/,
  ],
  [
    "ledger and kv-index are of two transactions",
    (dir) => git(dir, "update-ref", "refs/kv-index/main", "refs/kv-index/main^"),
    "refs",
    "ATTESTATION_MISMATCH",
    /refs\/kv\/main/,
  ],
  [
    "both refs were set back: the journal knows better",
    (dir) => {
      for (const ref of ["refs/kv/main", "refs/kv-index/main"]) git(dir, "update-ref", ref, `${ref}^`);
    },
    "journal",
    "CORRUPT",
    /refs\/kv\/main/,
  ],
  [
    "a ledger is gone",
    (dir) => {
      for (const ref of ["refs/kv/other", "refs/kv-index/other"]) git(dir, "update-ref", "-d", ref);
    },
    "journal",
    "CORRUPT",
    /refs\/kv\/other/,
  ],
  [
    "a commit came past the Stargate",
    (dir) => sql(dir, "DELETE FROM entry WHERE ns = 'main' AND seq = 2"),
    "journal",
    "REF_FORBIDDEN",
    /refs\/kv\/main/,
  ],
  [
    "a row was changed",
    (dir) => sql(dir, "UPDATE entry SET txn = 'another' WHERE ns = 'main' AND seq = 2"),
    "journal",
    "CORRUPT",
    /refs\/kv\/main/,
  ],
  [
    "a pack has a wrong byte",
    (dir) => {
      const file = pack(dir);
      const bytes = fs.readFileSync(file);
      bytes[bytes.length >> 1]! ^= 0x55;
      fs.chmodSync(file, 0o644);
      fs.writeFileSync(file, bytes);
      sql(dir, "DELETE FROM kept_pack");
    },
    "objects",
    "CORRUPT",
    /pack-/,
  ],
  [
    "a kept pack is not as it was accepted",
    (dir) => {
      const idx = pack(dir).replace(/pack$/, "idx");
      fs.rmSync(idx);
      fs.writeFileSync(idx, "");
    },
    "journal",
    "CORRUPT",
    /pack-.*idx/,
  ],
  [
    "a loose object is not what its name says",
    (dir) => {
      const oid = gitInput(dir, "one", "hash-object", "-w", "--stdin");
      const other = gitInput(dir, "two", "hash-object", "-w", "--stdin");
      const file = (id: string): string => path.join(dir, "objects", id.slice(0, 2), id.slice(2));
      fs.rmSync(file(oid));
      fs.copyFileSync(file(other), file(oid));
    },
    "objects",
    "CORRUPT",
    /^(?:[0-9a-f]{40}|[0-9a-f]{64})$/,
  ],
  [
    "a tree is missing below a branch",
    (dir) => {
      const blob = gitInput(dir, "lost", "hash-object", "-w", "--stdin");
      const tree = gitInput(dir, `100644 blob ${blob}\tf\n`, "mktree");
      git(dir, "update-ref", "refs/heads/gap", git(dir, "commit-tree", "-m", "gap", tree));
      fs.rmSync(path.join(dir, "objects", blob.slice(0, 2), blob.slice(2)));
    },
    "objects",
    "CORRUPT",
    /refs\/heads\/gap/,
  ],
  [
    "a branch has what no push may bring",
    (dir) => {
      const blob = gitInput(dir, "hook", "hash-object", "-w", "--stdin");
      const tree = gitInput(dir, `100644 blob ${blob}\t.git\n`, "mktree");
      git(dir, "update-ref", "refs/heads/bad", git(dir, "commit-tree", "-m", "bad", tree));
    },
    "objects",
    "BAD_OBJECT",
    /^refs\/heads\/bad$/,
  ],
  [
    "a tree that no ref needs names a blob that nobody has",
    (dir) => gitInput(dir, `100644 blob ${"1".repeat(TEST_FORMAT.hexSize)}\tf\n`, "mktree", "--missing"),
    "objects",
    "CORRUPT",
    /^unreachable$/,
  ],
  [
    "a tree that no ref needs has what no push may bring",
    (dir) => {
      const blob = gitInput(dir, "hook", "hash-object", "-w", "--stdin");
      gitInput(dir, `100644 blob ${blob}\t.git\n`, "mktree");
    },
    "objects",
    "BAD_OBJECT",
    /^unreachable$/,
  ],
  [
    "a ledger commit says what its trees do not hold",
    (dir) => {
      const text = git(dir, "cat-file", "commit", "refs/kv/other").replace("Keys-Set: 1", "Keys-Set: 2");
      const commit = gitInput(dir, `${text}\n`, "hash-object", "-t", "commit", "-w", "--stdin");
      git(dir, "update-ref", "refs/kv/other", commit);
    },
    "attestation",
    "REPLAY_MISMATCH",
    /^other #1 /,
  ],
  [
    "the ref of an epoch is at a commit that begins none",
    (dir) => git(dir, "update-ref", "refs/kv-epoch/other", "refs/kv/other"),
    "attestation",
    "ATTESTATION_MISMATCH",
    /^other /,
  ],
  [
    "a ref of a namespace without a ledger",
    (dir) => git(dir, "update-ref", "refs/kv-index/gone", "refs/kv-index/other"),
    "attestation",
    "CORRUPT",
    /^gone /,
  ],
];

test.each(DAMAGES)("%s", async (_name, damage, part, code, subject) => {
  const dir = copy();
  damage(dir);
  const { status, faults } = await check(dir);
  const found = faults.find((fault) => fault.part === part && fault.code === code && subject.test(fault.subject));
  expect([faults, found]).toEqual([faults, expect.anything() as unknown as Fault]);
  expect(status).toBe(faults.some((fault) => fault.part === "attestation") ? 8 : 5);
});

test("a repository that is no Stargate's, or whose journal is damaged, is said", () => {
  const plain = tempDir("plain");
  git(plain, "init", "-q", "--bare");
  const damaged = copy();
  fs.writeFileSync(
    path.join(damaged, "stargate", "journal.db"),
    "not a database at all, whatever it is called".repeat(200),
  );
  for (const suffix of ["-wal", "-shm"])
    fs.rmSync(path.join(damaged, "stargate", `journal.db${suffix}`), { force: true });
  for (const [dir, words] of [
    [plain, "not a Stargate's"],
    [damaged, "journal"],
  ] as const) {
    const run = Bun.spawnSync([...STARGATE_PROGRAM, "fsck", "--repo", dir], { stdout: "pipe", stderr: "pipe" });
    expect([run.exitCode, run.stderr.toString()]).toEqual([5, expect.stringContaining(words) as unknown as string]);
  }
});
