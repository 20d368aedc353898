/** The writer against acceptors that refuse, lose connections and let others go first. */

import { describe, expect, test } from "bun:test";
import { KvError } from "../../src/errors.ts";
import type { Oid } from "../../src/gitwire/object/oid.ts";
import { PackBuilder } from "../../src/gitwire/pack/pack-builder.ts";
import { commit } from "../../src/kv/commit.ts";
import { etagOf } from "../../src/kv/etag.ts";
import { localAcceptor } from "../../src/kv/local-acceptor.ts";
import type { Operation } from "../../src/kv/operation.ts";
import type { NamespaceState } from "../../src/kv/state.ts";
import { isUlid } from "../../src/kv/ulid.ts";
import type { Workspace } from "../../src/kv/workspace.ts";
import {
  type Acceptor,
  type Proposal,
  type WriteOutcome,
  type WriteRequest,
  writeTransaction,
} from "../../src/kv/write.ts";
import { LIMITS } from "../../src/limits.ts";
import { failureOf } from "../support/failure.ts";
import { git, gitInput } from "../support/git.ts";
import { readValue } from "../support/read.ts";
import { TEST_FORMAT } from "../support/test-format.ts";
import { complaints, countingClock, newRepository, workspaceAt } from "../support/workspace.ts";

interface Given {
  readonly message?: string;
  readonly expectTree?: Oid;
  readonly namespace?: WriteRequest["namespace"];
}

/** Sets `key` to `value` through `acceptor`. */
async function write(
  workspace: Workspace,
  acceptor: Acceptor,
  key: string,
  value: string,
  given: Given = {},
): Promise<WriteOutcome> {
  const builder = new PackBuilder(workspace.repo.format);
  try {
    const data = Buffer.from(value);
    const oid = builder.write("blob", data);
    const stored = { type: "inline", oid, size: data.length, etag: etagOf(data), ctype: "text/plain" } as const;
    const operations: Operation[] = [{ kind: "set", key, value: stored, expires: undefined, labels: undefined }];
    const { message, expectTree, namespace = "required" } = given;
    return await writeTransaction(workspace, acceptor, { builder, operations, message, expectTree, namespace });
  } finally {
    builder.dispose();
  }
}

async function newWorkspace(): Promise<{ workspace: Workspace; dir: string; local: Acceptor }> {
  const dir = newRepository(TEST_FORMAT);
  const workspace = workspaceAt(dir);
  await commit(workspace, { create: { epoch: "e1" } }, () => {});
  return { workspace, dir, local: localAcceptor(workspace.repo) };
}

const get = (workspace: Workspace, key: string): string =>
  readValue(workspace.repo.objects, workspace.requireState(), key, { now: 0, allowExpired: false }).data.toString();

/** Answers each try of `accept` by the next of `answers`, the last one again and again. */
function scripted(
  local: Acceptor,
  answers: readonly ((proposal: Proposal) => Promise<void>)[],
): Acceptor & { tries: Proposal[]; refreshes: string[] } {
  const tries: Proposal[] = [];
  const refreshes: string[] = [];
  return {
    decidesHere: local.decidesHere,
    tries,
    refreshes,
    accept: async (proposal) => {
      tries.push(proposal);
      await (answers[tries.length - 1] ?? answers.at(-1)!)(proposal);
    },
    refresh: async (txn, since) => {
      refreshes.push(txn);
      return local.refresh(txn, since);
    },
    chunkTip: local.chunkTip,
  };
}

const lost = (): KvError => new KvError("NETWORK", "the connection was lost", { data: { unknownOutcome: true } });
const stale = async (): Promise<void> => {
  throw new KvError("CAS_CONFLICT", "the tip moved");
};

describe("conflicts", () => {
  test("another writer is faster: planned anew on its state, both keys are there", async () => {
    const { workspace, dir, local } = await newWorkspace();
    const other = workspaceAt(dir, { clock: countingClock(1_767_322_900_000) });
    const overtaken = async (proposal: Proposal): Promise<void> => {
      await write(other, localAcceptor(other.repo), "theirs", "1");
      await local.accept(proposal);
    };
    const acceptor = scripted(local, [overtaken, (proposal) => local.accept(proposal)]);
    const outcome = await write(workspace, acceptor, "mine", "a value of some length");
    expect(outcome).toMatchObject({ kind: "committed", seq: 3 });
    expect(acceptor.tries).toHaveLength(2);
    expect(acceptor.tries[0]!.plan.txn).toBe(acceptor.tries[1]!.plan.txn);
    expect([get(workspace, "mine"), get(workspace, "theirs")]).toEqual(["a value of some length", "1"]);
    // Nothing of the first plan went along with the second.
    expect(git(dir, "fsck", "--unreachable")).toBe("");
    expect(complaints(dir)).toBe("");
  });

  test("the other writer did just the same: unchanged", async () => {
    const { workspace, dir, local } = await newWorkspace();
    const other = workspaceAt(dir, { clock: countingClock(1_767_322_900_000) });
    const acceptor = scripted(local, [
      async (proposal) => {
        await write(other, localAcceptor(other.repo), "k", "v");
        await local.accept(proposal);
      },
    ]);
    expect(await write(workspace, acceptor, "k", "v")).toMatchObject({
      kind: "unchanged",
      state: { ledger: { seq: 2 } },
    });
  });

  test("an expected tree is tried once", async () => {
    const { workspace, local } = await newWorkspace();
    const { tree } = workspace.requireState().ledger;
    const acceptor = scripted(local, [stale]);
    expect((await failureOf(write(workspace, acceptor, "k", "v", { expectTree: tree }))).code).toBe("CAS_CONFLICT");
    expect(acceptor.tries).toHaveLength(1);
    const wrong = await failureOf(write(workspace, acceptor, "k", "v", { expectTree: TEST_FORMAT.emptyTree }));
    expect([wrong.code, wrong.exit, wrong.data]).toEqual([
      "CAS_CONFLICT",
      2,
      { expected: TEST_FORMAT.emptyTree, actual: tree },
    ]);
    expect(acceptor.tries).toHaveLength(1);
    expect(await write(workspace, local, "k", "v", { expectTree: tree })).toMatchObject({ kind: "committed" });
  });

  test("a tip that never rests: given up after so many tries, nothing stored", async () => {
    const { workspace, dir, local } = await newWorkspace();
    const acceptor = scripted(local, [stale]);
    expect((await failureOf(write(workspace, acceptor, "k", "v"))).code).toBe("CAS_CONFLICT");
    expect(acceptor.tries).toHaveLength(LIMITS.conflictRetries);
    expect(workspace.requireState().ledger.seq).toBe(1);
    expect(git(dir, "count-objects")).toMatch(/^0 objects/);
  });

  test("a policy that changed meanwhile is a reason to try again", async () => {
    const { workspace, local } = await newWorkspace();
    const changed = async (): Promise<void> => {
      throw new KvError("POLICY_STALE", "another policy is in force");
    };
    const acceptor = scripted(local, [changed, (proposal) => local.accept(proposal)]);
    expect(await write(workspace, acceptor, "k", "v")).toMatchObject({ kind: "committed", seq: 2 });
  });
});

describe("a clone that is behind", () => {
  /** Somebody else's acceptor: what it knows comes here with a refresh only. */
  function behind(workspace: Workspace, dir: string, local: Acceptor): Acceptor & { looks: number } {
    const ahead = new Map(["refs/kv/main", "refs/kv-index/main"].map((ref) => [ref, git(dir, "rev-parse", ref)]));
    for (const ref of ahead.keys()) git(dir, "update-ref", ref, `${ref}~1`);
    expect(workspace.requireState().ledger.seq).toBe(2);
    const acceptor = {
      ...local,
      decidesHere: false,
      looks: 0,
      refresh: async () => {
        acceptor.looks++;
        for (const [ref, oid] of ahead) git(dir, "update-ref", ref, oid);
        return undefined;
      },
    };
    return acceptor;
  }

  test("a value that is there only as far as it knows is written all the same", async () => {
    const { workspace, dir, local } = await newWorkspace();
    await write(workspace, local, "k", "old");
    await write(workspace, local, "k", "new");
    const acceptor = behind(workspace, dir, local);
    expect(await write(workspace, acceptor, "k", "old")).toMatchObject({ kind: "committed", seq: 4 });
    expect([get(workspace, "k"), acceptor.looks]).toEqual(["old", 1]);
    // Nothing planned on the old state went along.
    expect(complaints(dir)).toBe("");
  });

  test("what is really unchanged makes no commit, and says the newest one", async () => {
    const { workspace, dir, local } = await newWorkspace();
    await write(workspace, local, "k", "v");
    await write(workspace, local, "other", "v");
    const acceptor = behind(workspace, dir, local);
    const outcome = await write(workspace, acceptor, "k", "v");
    expect(outcome).toMatchObject({ kind: "unchanged", state: { ledger: { seq: 3 } } });
    expect(acceptor.looks).toBe(1);
  });

  test("an expected tree, a condition and a deletion that hold by now are not refused", async () => {
    const cases: ((workspace: Workspace, acceptor: Acceptor, tree: Oid) => Promise<WriteOutcome>)[] = [
      (workspace, acceptor, expectTree) => write(workspace, acceptor, "x", "1", { expectTree }),
      (workspace, acceptor) => run(workspace, acceptor, { kind: "del", key: "late", ignoreMissing: false }),
      (workspace, acceptor) =>
        run(workspace, acceptor, { kind: "check", key: "late", condition: { kind: "rev", rev: 1 } }),
    ];
    for (const attempt of cases) {
      const { workspace, dir, local } = await newWorkspace();
      await write(workspace, local, "early", "v");
      await write(workspace, local, "late", "v");
      const { tree } = workspace.requireState().ledger;
      const acceptor = behind(workspace, dir, local);
      expect(["committed", "unchanged"]).toContain((await attempt(workspace, acceptor, tree)).kind);
      expect(acceptor.looks).toBe(1);
    }
  });

  test("a condition that does not hold there either is a conflict after one look", async () => {
    const { workspace, dir, local } = await newWorkspace();
    await write(workspace, local, "k", "1");
    await write(workspace, local, "k", "2");
    const acceptor = behind(workspace, dir, local);
    const failure = await failureOf(
      run(workspace, acceptor, { kind: "check", key: "k", condition: { kind: "rev", rev: 9 } }),
    );
    expect([failure.code, failure.message]).toEqual(["CAS_CONFLICT", expect.stringContaining("revision 2, expected")]);
    expect(acceptor.looks).toBe(1);
  });

  async function run(workspace: Workspace, acceptor: Acceptor, operation: Operation): Promise<WriteOutcome> {
    const builder = new PackBuilder(workspace.repo.format);
    try {
      const request = { builder, operations: [operation], message: undefined, expectTree: undefined };
      return await writeTransaction(workspace, acceptor, { ...request, namespace: "required" });
    } finally {
      builder.dispose();
    }
  }
});

describe("lost connections", () => {
  /** Finds a transaction as the Stargate's acceptor does: by its KV-Txn. */
  const findTxn = (workspace: Workspace) => async (txn: string, _since: NamespaceState | undefined) => {
    const { ledger } = workspace.requireState();
    return ledger.txn === txn ? ledger : undefined;
  };

  test("the transaction had arrived: found by its KV-Txn, not written twice", async () => {
    for (const withTree of [false, true]) {
      const { workspace, dir, local } = await newWorkspace();
      const acceptor = scripted({ ...local, refresh: findTxn(workspace) }, [
        async (proposal) => {
          await local.accept(proposal);
          throw lost();
        },
      ]);
      const given = withTree ? { expectTree: workspace.requireState().ledger.tree } : {};
      const outcome = await write(workspace, acceptor, "k", "v", given);
      const { ledger } = workspace.requireState();
      expect(outcome).toMatchObject({ kind: "committed", ledger: ledger.oid, seq: 2, txn: ledger.txn });
      expect(isUlid(ledger.txn)).toBe(true);
      expect([acceptor.tries.length, acceptor.refreshes]).toEqual([1, [ledger.txn]]);
      expect(git(dir, "rev-list", "--count", "refs/kv/main")).toBe("2");
    }
  });

  test("it had not: sent again under the same name", async () => {
    for (const withTree of [false, true]) {
      const { workspace, local } = await newWorkspace();
      const acceptor = scripted({ ...local, refresh: findTxn(workspace) }, [
        async () => {
          throw lost();
        },
        (proposal) => local.accept(proposal),
      ]);
      const given = withTree ? { expectTree: workspace.requireState().ledger.tree } : {};
      expect(await write(workspace, acceptor, "k", "v", given)).toMatchObject({ kind: "committed", seq: 2 });
      expect(acceptor.tries.map(({ plan }) => plan.txn)).toEqual([acceptor.refreshes[0]!, acceptor.refreshes[0]!]);
    }
  });

  test("the first try arrives late, while the second is refused for whatever reason: found all the same", async () => {
    for (const code of ["CAS_CONFLICT", "ATTESTATION_MISMATCH", "NETWORK"] as const) {
      const { workspace, dir, local } = await newWorkspace();
      let first: Proposal | undefined;
      const looks = [async () => undefined, findTxn(workspace)];
      const acceptor = scripted({ ...local, refresh: (txn, since) => looks.shift()!(txn, since) }, [
        async (proposal) => {
          // What was sent is on its way: kept as bytes, since the next plan rewrites the pack.
          const bytes = [...proposal.pack.chunks()].map((chunk) => Buffer.from(chunk));
          first = { ...proposal, pack: { ...proposal.pack, chunks: () => bytes } };
          throw lost();
        },
        async () => {
          gitInput(dir, Buffer.concat([...first!.pack.chunks()]), "index-pack", "--stdin", "--fix-thin");
          for (const { ref, newOid } of first!.plan.moves) git(dir, "update-ref", ref, newOid);
          throw new KvError(code, "no");
        },
      ]);
      expect(await write(workspace, acceptor, "k", "v")).toMatchObject({
        kind: "committed",
        ledger: first!.plan.ledger,
      });
      expect(git(dir, "rev-list", "--count", "refs/kv/main")).toBe("2");
    }
  });

  test("nobody can be asked what became of it: says so", async () => {
    const { workspace, local } = await newWorkspace();
    const down = async (): Promise<never> => {
      throw new KvError("NETWORK", "the server is down");
    };
    const acceptor = scripted({ ...local, refresh: down }, [
      async () => {
        throw lost();
      },
    ]);
    const failure = await failureOf(write(workspace, acceptor, "k", "v"));
    expect(failure.code).toBe("NETWORK");
    expect(failure.message).toMatch(/^whether transaction \S{26} was accepted is not known: the server is down$/);
  });

  test("a failure whose outcome is known is not tried again", async () => {
    const { workspace, local } = await newWorkspace();
    for (const code of ["NETWORK", "UNSIGNED", "REPLAY_MISMATCH", "BUSY"] as const) {
      const acceptor = scripted(local, [
        async () => {
          throw new KvError(code, "no");
        },
      ]);
      expect((await failureOf(write(workspace, acceptor, "k", "v"))).code).toBe(code);
      expect([acceptor.tries.length, acceptor.refreshes.length]).toEqual([1, 0]);
    }
  });
});

test("an interrupted writer does not begin another try", async () => {
  const dir = newRepository(TEST_FORMAT);
  await commit(workspaceAt(dir), { create: { epoch: "e1" } }, () => {});
  const controller = new AbortController();
  const workspace = workspaceAt(dir, { signal: controller.signal });
  const acceptor = scripted(localAcceptor(workspace.repo), [
    async () => {
      controller.abort(new KvError("INTERRUPTED", "interrupted"));
      await stale();
    },
  ]);
  await expect(write(workspace, acceptor, "k", "v")).rejects.toThrow();
  expect(acceptor.tries).toHaveLength(1);
});

test("the namespace must exist, must not, or may", async () => {
  const dir = newRepository(TEST_FORMAT);
  const workspace = workspaceAt(dir);
  const local = localAcceptor(workspace.repo);
  expect((await failureOf(write(workspace, local, "k", "v"))).code).toBe("NS_NOT_FOUND");
  expect(await write(workspace, local, "k", "v", { namespace: "either" })).toMatchObject({ kind: "committed", seq: 1 });
  expect((await failureOf(write(workspace, local, "k", "w", { namespace: "create" }))).code).toBe("CAS_CONFLICT");
  expect(await write(workspace, local, "k", "w", { namespace: "either" })).toMatchObject({ kind: "committed", seq: 2 });
  const second = workspaceAt(dir, { ns: "second" });
  expect(await write(second, localAcceptor(second.repo), "k", "v", { namespace: "create" })).toMatchObject({ seq: 1 });
  expect(get(workspace, "k")).toBe("w");
});

test("ten writers at once: every write is there, one after the other", async () => {
  const { dir, workspace } = await newWorkspace();
  const writers = Array.from({ length: 10 }, (_, i) =>
    workspaceAt(dir, { clock: countingClock(1_767_322_900_000 + i) }),
  );
  await Promise.all(
    writers.map(async (writer, i) => {
      for (let n = 0; n < 3; n++) await write(writer, localAcceptor(writer.repo), `k${i}-${n}`, `v${i}-${n}`);
    }),
  );
  expect(workspace.requireState().ledger.seq).toBe(31);
  for (let i = 0; i < 10; i++) for (let n = 0; n < 3; n++) expect(get(workspace, `k${i}-${n}`)).toBe(`v${i}-${n}`);
  expect(git(dir, "rev-list", "--count", "refs/kv-index/main")).toBe("31");
  expect(complaints(dir)).toBe("");
});
