/** What an audit finds of the refs beside a ledger: epochs that begin or end elsewhere, refs of what never was, and those that are gone. */

import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import * as path from "node:path";
import type { Oid } from "../../src/gitwire/object/oid.ts";
import { audit } from "../../src/kv/audit.ts";
import { auditRefs } from "../../src/kv/audit-refs.ts";
import { git, gitInput } from "../support/git.ts";
import { TestClient, TestStargate, verdict } from "../support/stargate.ts";
import { tempDir } from "../support/temp.ts";
import { workspaceAt } from "../support/workspace.ts";

/** Two transactions, the start of e2, one more, the start of e3, one more. */
let dir: string;
let stargate: TestStargate;
const root = (label: string): Oid =>
  git(dir, "log", "--all", "--format=%H", "--max-parents=0", `--grep=^Epoch: ${label}$`, "-1");

beforeAll(async () => {
  stargate = await TestStargate.start({ upkeep: false });
  ({ dir } = stargate);
  const client = new TestClient(dir, stargate.loginUrl(stargate.token("admin")));
  await client.set({ a: "1", b: "2" });
  await client.set({ a: "3" });
  for (const label of ["e2", "e3"]) {
    const planned = await client.planEpoch(label, { seconds: Math.floor(Date.now() / 1000) });
    expect(verdict(await client.push(planned))).toBe("ok");
    await client.set({ [label]: "1" });
  }
});
afterAll(() => stargate.stop());

async function verify(at: string, options: { all: boolean; since?: Oid }): Promise<string[]> {
  const said: string[] = [];
  const workspace = workspaceAt(at, {});
  await audit(workspace, {
    ...options,
    found: ({ ns, code, message }) => said.push(`${ns} ${code}: ${message}`),
    progress: () => {},
  });
  workspace.repo.close();
  return said;
}

function copy(): string {
  const to = path.join(tempDir("copy"), "kv.git");
  Bun.spawnSync(["cp", "-r", dir, to]);
  return to;
}

describe("in the repository that has everything", () => {
  const [archive, indexArchive] = ["refs/kv-archive/main@e1", "refs/kv-index-archive/main@e1"];

  test("honest refs: no finding, whatever part is looked at", async () => {
    expect(await verify(dir, { all: true })).toEqual([]);
    expect(await verify(dir, { all: false, since: git(dir, "rev-parse", "refs/kv/main~1") })).toEqual([]);
    expect(await verify(dir, { all: false, since: git(dir, "rev-parse", archive) })).toEqual([]);
  });

  test.each([
    ["the current epoch begins with another commit", ["refs/kv-epoch/main", "refs/kv/main"]],
    ["or with what is no ledger commit", ["refs/kv-epoch/main", "refs/kv-index/main"]],
    ["an archive that was rewound", [archive, `${archive}~1`]],
    ["the archive of another epoch", [archive, "refs/kv-archive/main@e2"]],
    ["of an epoch that was never closed", ["refs/kv-archive/main@e3", archive]],
    ["of its kv-index, too", ["refs/kv-index-archive/main@e3", indexArchive]],
    ["pieces of an epoch that never was", ["refs/kv-chunks/main@e4", "refs/kv-index/main"]],
  ] as const)("%s", async (_what, [ref, to]) => {
    const at = copy();
    git(at, "update-ref", ref, to);
    expect(await verify(at, { all: true })).toEqual([expect.stringContaining(`main ATTESTATION_MISMATCH: ${ref} is `)]);
  });

  test.each([archive, indexArchive, "refs/kv-epoch/main"])("%s is gone", async (ref) => {
    const at = copy();
    git(at, "update-ref", "-d", ref);
    expect(await verify(at, { all: true })).toContain(`main CORRUPT: there is no ${ref}`);
  });

  test("refs of a namespace that has no ledger", async () => {
    const at = copy();
    git(at, "update-ref", "refs/kv-index/gone", "refs/kv-index/main");
    git(at, "update-ref", "refs/kv-remotes/origin/kv-epoch/lost", "refs/kv/main");
    expect(await verify(at, { all: true })).toEqual([
      "gone CORRUPT: there is no ledger that refs/kv-index/gone belongs to",
      "lost CORRUPT: there is no ledger that refs/kv-remotes/origin/kv-epoch/lost belongs to",
    ]);
    expect(await verify(at, { all: false })).toEqual([]);
  });
});

test("an epoch that is called as one before", () => {
  const walked = (epoch: string, ...closed: string[]): string[] => {
    const starts = closed.map((label) => ({ root: label, closed: { label, ledger: label }, index: undefined }));
    const said: string[] = [];
    const objects = workspaceAt(dir).repo.objects;
    auditRefs(
      objects,
      [],
      "origin",
      { ns: "main", tip: { oid: "1", seq: 1 }, epoch, starts, isWhole: true },
      (oid, { message }) => said.push(`${oid} ${message}`),
    );
    return said;
  };
  expect(walked("e3", "e2", "e1")).toEqual([]);
  expect(walked("e1", "e2", "e1")).toEqual(["e1 there are two epochs 'e1'"]);
  expect(walked("e3", "e1", "e1")).toEqual(["e1 there are two epochs 'e1'"]);
});

describe("in a clone", () => {
  /** What a fetch from the mirror brings: the current epoch, at tracking refs. */
  function clone(): string {
    const to = tempDir("clone");
    git(to, "init", "-q", "--bare", `--object-format=${git(dir, "rev-parse", "--show-object-format")}`);
    const refs = ["kv", "kv-index", "kv-epoch"].map((group) => `+refs/${group}/*:refs/kv-remotes/origin/${group}/*`);
    git(to, "fetch", "-q", dir, ...refs, "+refs/kv-policy/current:refs/kv-remotes/origin/kv-policy");
    return to;
  }

  test("that has the current epoch only, nothing is missed", async () => {
    expect(await verify(clone(), { all: false })).toEqual([]);
  });

  test("a mirror that shows another start of the epoch is found out", async () => {
    const to = clone();
    const text = git(dir, "cat-file", "commit", root("e3")).replace("Parent-Epoch: e2", "Parent-Epoch: e9");
    const forged = gitInput(to, `${text}\n`, "hash-object", "-t", "commit", "-w", "--stdin");
    git(to, "update-ref", "refs/kv-remotes/origin/kv-epoch/main", forged);
    expect(await verify(to, { all: false })).toEqual([
      "main ATTESTATION_MISMATCH: refs/kv-remotes/origin/kv-epoch/main is not the commit that an epoch of this ledger begins with",
    ]);
  });

  test("a watermark may lag or be news, and is a commit of the ledger", async () => {
    const to = clone();
    const watermark = "refs/kv-remotes/origin/kv-mirror/main";
    const tracked = "refs/kv-remotes/origin/kv/main";
    const tip = git(to, "rev-parse", tracked);
    const mark = async (oid: string): Promise<string[]> => {
      git(to, "update-ref", watermark, oid);
      return verify(to, { all: false });
    };
    expect(await mark(tip)).toEqual([]);
    expect(await mark(root("e3"))).toEqual([]);
    // The mirror was behind by an epoch.
    git(to, "fetch", "-q", dir, "refs/kv-archive/main@e2");
    expect(await mark(git(dir, "rev-parse", "refs/kv-archive/main@e2"))).toEqual([]);
    git(to, "update-ref", tracked, root("e3"));
    git(
      to,
      "update-ref",
      "refs/kv-remotes/origin/kv-index/main",
      `${git(to, "rev-parse", "refs/kv-remotes/origin/kv-index/main")}~1`,
    );
    expect(await mark(tip)).toEqual([]);
    const text = git(dir, "cat-file", "commit", tip).replace("Keys-Set: 1", "Keys-Set: 2");
    const forged = gitInput(to, `${text}\n`, "hash-object", "-t", "commit", "-w", "--stdin");
    git(to, "update-ref", tracked, tip);
    git(to, "update-ref", "refs/kv-remotes/origin/kv-index/main", git(dir, "rev-parse", "refs/kv-index/main"));
    expect(await mark(forged)).toEqual([`main ATTESTATION_MISMATCH: ${watermark} is no commit of this ledger`]);
    expect(await mark(git(to, "rev-parse", "refs/kv-remotes/origin/kv-index/main"))).toEqual([
      `main ATTESTATION_MISMATCH: ${watermark} is no ledger commit`,
    ]);
  });

  test("one that learned of the ledger before it learned of the epoch is not blamed", async () => {
    const to = clone();
    git(to, "fetch", "-q", dir, "refs/kv-archive/main@e2");
    git(to, "update-ref", "refs/kv-epoch/main", root("e2"));
    expect(await verify(to, { all: false })).toEqual([]);
  });
});
