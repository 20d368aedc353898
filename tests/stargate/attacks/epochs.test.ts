/**
 * Attacks by the start of an epoch: by somebody who is no admin, with keys lost, changed or made, on another state than it says, with refs that
 * do not fit together, at a time that has not come, and once more.
 */

import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import type { Oid } from "../../../src/gitwire/object/oid.ts";
import { PackBuilder } from "../../../src/gitwire/pack/pack-builder.ts";
import type { PushCommand } from "../../../src/gitwire/protocol/receive-commands.ts";
import { parseLedgerCommit } from "../../../src/kv/attestation.ts";
import { POLICY_REF } from "../../../src/kv/namespace.ts";
import { Arena } from "../../support/arena.ts";
import { KIBIBYTES } from "../../support/chunked.ts";
import { withLedger } from "../../support/forged.ts";
import { git } from "../../support/git.ts";
import { random } from "../../support/random.ts";
import { large, type Planned, policyPush, verdict } from "../../support/stargate.ts";
import type { TestKey } from "../../support/test-key.ts";

setDefaultTimeout(60_000);

const rng = random("attacks/epochs");
const RULES = ", max_value_inline: 2KiB, chunking: { mode: fixed, size: 1KiB }";
const now = (): number => Math.floor(Date.now() / 1000);
let arena: Arena;

beforeAll(async () => {
  arena = await Arena.start();
  await putInForce(arena.policy(RULES));
  const { http } = arena;
  for (const key of ["cfg:one", "cfg:two"]) {
    const value = large(Buffer.from(rng.bytes(5 * 1_024)), KIBIBYTES);
    expect(verdict(await http.push(arena.sign({ [key]: value })))).toBe("ok");
  }
  expect(verdict(await http.push(arena.sign({ "cfg:one": undefined, "cfg:b": "2" })))).toBe("ok");
});
afterAll(() => arena.stop());

/** Signed by the admin. */
async function putInForce(text: string): Promise<void> {
  const { office, admin } = arena;
  const planned = policyPush(office, text, undefined, (commit) => admin.signCommit(commit));
  expect(verdict(await office.push(planned))).toBe("ok");
}

/** The start of an epoch as an honest admin makes it, but for what `edit` does to the ledger commit before it is signed. */
async function epoch(
  label = "e2",
  { edit = (text) => text, key = arena.admin, seconds = now() }: EpochForgery = {},
): Promise<Planned> {
  const { http } = arena;
  const planned = withLedger(http, await http.planEpoch(label, { seconds }), edit);
  return key === undefined ? planned : key.signed(http, planned);
}

interface EpochForgery {
  readonly edit?: (text: string) => string;
  readonly key?: TestKey | undefined;
  readonly seconds?: number;
}

const without = (planned: Planned, group: string): Planned => ({
  ...planned,
  commands: planned.commands.filter(({ ref }) => !ref.startsWith(`refs/${group}/`)),
});
const changed = (planned: Planned, group: string, change: { ref?: string; newOid?: Oid; oldOid?: Oid }): Planned => ({
  ...planned,
  commands: planned.commands.map((one) => (one.ref.startsWith(`refs/${group}/`) ? { ...one, ...change } : one)),
});

describe("the start of an epoch is refused", () => {
  test("of anybody but an admin", async () => {
    await arena.refused(await epoch("e2", { key: arena.alice }), "SIGNER_NOT_ALLOWED");
    await arena.refused(await epoch("e2", { key: arena.stranger }), "SIGNER_NOT_ALLOWED");
    const { http } = arena;
    await arena.refused(
      withLedger(http, await http.planEpoch("e2", { seconds: now() }), (text) => text),
      "UNSIGNED",
    );
    const signed = await epoch();
    const altered = withLedger(http, signed, (text) => text.replace("epoch e2\n", "epoch  e2\n"));
    await arena.refused(altered, "BAD_SIGNATURE");
  });

  test("without one of its refs, with a strange one, or with refs that do not fit together", async () => {
    const planned = await epoch();
    for (const group of ["kv-archive", "kv-index-archive", "kv-epoch", "kv", "kv-index"]) {
      await arena.refused(without(planned, group), "REF_FORBIDDEN");
    }
    const archive = planned.commands.find(({ ref }) => ref.startsWith("refs/kv-archive/"))!;
    expect(archive.ref).toBe("refs/kv-archive/main@e1");
    const parent = git(arena.stargate.dir, "rev-parse", "refs/kv/main~1");
    await arena.refused(changed(planned, "kv-archive", { newOid: parent }), "REF_FORBIDDEN");
    await arena.refused(changed(planned, "kv-index-archive", { newOid: parent }), "REF_FORBIDDEN");
    const wrongLabel = changed(planned, "kv-archive", { ref: "refs/kv-archive/main@e0" });
    await arena.refused(wrongLabel, "REF_FORBIDDEN");
    await arena.refused(
      changed(wrongLabel, "kv-index-archive", { ref: "refs/kv-index-archive/main@e0" }),
      "REF_FORBIDDEN",
    );
    await arena.refused(changed(planned, "kv-archive", { ref: "refs/kv-archive/other@e1" }), "REF_FORBIDDEN");
    await arena.refused(changed(planned, "kv-epoch", { newOid: archive.newOid }), "REF_FORBIDDEN");
    await arena.refused(changed(planned, "kv-chunks", { ref: "refs/kv-chunks/main@e3" }), "REF_FORBIDDEN");
    await arena.refused(without(planned, "kv-chunks"), "ATTESTATION_MISMATCH");
    const more = { ref: "refs/kv-archive/main@e0", oldOid: archive.oldOid, newOid: archive.newOid };
    await arena.refused({ ...planned, commands: [...planned.commands, more] }, "REF_FORBIDDEN");
    await arena.refused({ commands: [archive] }, "REF_FORBIDDEN");
  });

  test("where it does not say what it follows", async () => {
    const edits: [string, (text: string) => string][] = [
      ["ATTESTATION_MISSING", (text) => text.replace(/Parent-Epoch: .*\n/, "")],
      ["ATTESTATION_MISMATCH", (text) => text.replace("Parent-Epoch: e1", "Parent-Epoch: e0")],
      ["ATTESTATION_MISMATCH", (text) => text.replace(/(Parent-Epoch: e1 ).*/, `$1${"1".repeat(arena.tip.length)}`)],
      ["ATTESTATION_MISMATCH", (text) => text.replace(/KV-Seq: \d+/, "KV-Seq: 1")],
      ["ATTESTATION_MISMATCH", (text) => text.replace(/Base-Tree: .*/, "Base-Tree: -")],
      ["REF_FORBIDDEN", (text) => text.replace("\nEpoch: e2", "\nEpoch: e1")],
      ["NOT_LINEAR", (text) => text.replace("\nauthor", `\nparent ${arena.tip}\nauthor`)],
      ["POLICY_STALE", (text) => text.replace(/KV-Policy: .*/, `KV-Policy: ${arena.tip}`)],
    ];
    for (const [code, edit] of edits) await arena.refused(await epoch("e2", { edit }), code);
    // A transaction without a parent that says it begins no epoch, and one that says it does and moves too few refs.
    const forged = await epoch("e2", { edit: (text) => text.replace(/Parent-Epoch: .*\n/, "") });
    const four = ["kv-archive", "kv-index-archive", "kv-epoch", "kv-chunks"];
    const plain = four.reduce(without, forged);
    await arena.refused(plain, "NOT_FAST_FORWARD");
    const honest = four.reduce(without, await epoch());
    await arena.refused(honest, "NOT_FAST_FORWARD");
  });

  test("where keys or pieces are lost, kept, changed or made", async () => {
    const { http } = arena;
    const tip = parseLedgerCommit(http.repo.format, arena.tip, http.repo.objects.read(arena.tip)!.data);
    /** An epoch with the trees of a transaction that nobody has pushed. */
    const holding = async (values: Record<string, string | undefined>, dels: number): Promise<Planned> => {
      const other = http.plan(values);
      const of = (oid: Oid): string => other.objects.get(oid)!.data.toString();
      const made = parseLedgerCommit(http.repo.format, other.ledger, Buffer.from(of(other.ledger)));
      const planned = await http.planEpoch("e2", { seconds: now() });
      const honest = parseLedgerCommit(http.repo.format, planned.ledger, planned.objects.get(planned.ledger)!.data);
      const swap = (text: string): string =>
        text
          .replace(`Ledger-Tree: ${honest.tree}`, `Ledger-Tree: ${made.tree}`)
          .replace(`tree ${honest.tree}`, `tree ${made.tree}`)
          .replaceAll(honest.indexTree, made.indexTree);
      const index = planned.commands.find(({ ref }) => ref === "refs/kv-index/main")!.newOid;
      const forged = withLedger(
        http,
        { ...planned, objects: new Map([...other.objects, ...planned.objects]) },
        (text) => swap(text).replace(/Keys-Del: \d+/, `Keys-Del: ${dels}`),
      );
      const both = withLedger(http, { ...forged, ledger: index }, swap);
      return arena.admin.signed(http, { ...both, ledger: forged.ledger });
    };
    expect(await arena.refused(await holding({ "cfg:b": undefined }, 1), "REPLAY_MISMATCH")).toContain("cfg:b");
    await arena.refused(await holding({ "cfg:b": "changed" }, 0), "REPLAY_MISMATCH");
    await arena.refused(await holding({ "cfg:new": "made" }, 0), "REPLAY_MISMATCH");
    // The tombstone stays in the kv-index.
    const planned = await http.planEpoch("e2", { seconds: now() });
    const honest = parseLedgerCommit(http.repo.format, planned.ledger, planned.objects.get(planned.ledger)!.data);
    expect(honest.indexTree).not.toBe(tip.indexTree);
    const keep = (text: string): string => text.replaceAll(honest.indexTree, tip.indexTree);
    const index = planned.commands.find(({ ref }) => ref === "refs/kv-index/main")!.newOid;
    const kept = withLedger(http, withLedger(http, { ...planned, ledger: index }, keep), keep);
    const ledger = withLedger(http, { ...kept, ledger: planned.ledger }, keep);
    await arena.refused(arena.admin.signed(http, ledger), "REPLAY_MISMATCH");
    // The pieces of the value that was deleted stay in the chunk tree.
    const all = http.chunkTip()!.tree;
    const stay = (text: string): string => text.replaceAll(honest.chunksTree!, all);
    const chunks = planned.commands.find(({ ref }) => ref.startsWith("refs/kv-chunks/"))!.newOid;
    const stayed = withLedger(http, { ...planned, ledger: chunks }, stay);
    const forged = withLedger(http, { ...stayed, ledger: planned.ledger }, stay);
    await arena.refused(arena.admin.signed(http, forged), "CHUNK_MISMATCH");
  });

  test("at a time that has not come", async () => {
    await arena.refused(await epoch("e2", { seconds: now() + 3_600 }), "ATTESTATION_MISMATCH");
  });

  test("and what is right is taken, once", async () => {
    const { http } = arena;
    const before = arena.tip;
    const early = arena.sign({ "cfg:b": "early" });
    const { dir } = arena.stargate;
    const indexBefore = git(dir, "rev-parse", "refs/kv-index/main");
    const first = await epoch();
    expect(verdict(await http.push(first))).toBe("ok");
    expect(git(arena.stargate.dir, "rev-parse", "refs/kv-archive/main@e1")).toBe(before);
    expect(git(arena.stargate.dir, "rev-parse", "refs/kv-epoch/main")).toBe(first.ledger);
    // Again: it is known. Another one on the same state: it has moved on. A transaction made before it, too.
    expect(verdict(await arena.ssh.push(first))).toBe("ok");
    const late = changed(await epoch("e3"), "kv", { oldOid: before });
    await arena.refused(changed(late, "kv-archive", { newOid: before }), "CAS_CONFLICT");
    await arena.refused(early, "CAS_CONFLICT");
    // Neither a transaction that was signed before the epoch nor the state before it comes back by naming the tips of today.
    const onTop = (oids: readonly Oid[]): PushCommand[] =>
      ["refs/kv/main", "refs/kv-index/main"].map((ref, i) => ({
        ref,
        oldOid: git(dir, "rev-parse", ref),
        newOid: oids[i]!,
      }));
    const newOid = (ref: string): Oid => early.commands.find((command) => command.ref === ref)!.newOid;
    const replayed = onTop([newOid("refs/kv/main"), newOid("refs/kv-index/main")]);
    await arena.refused({ ...early, commands: replayed }, "NOT_FAST_FORWARD");
    const rewind = { commands: onTop([before, indexBefore]), pack: new PackBuilder(http.repo.format) };
    await arena.refused(rewind, "NOT_FAST_FORWARD");
    expect(verdict(await http.push(arena.sign({ "cfg:b": "3" })))).toBe("ok");
    // Labels are not used again.
    await arena.refused(await epoch("e1"), "REF_FORBIDDEN");
    expect(verdict(await arena.ssh.push(await epoch("e3")))).toBe("ok");
    await arena.refused(await epoch("e2"), "REF_FORBIDDEN");
    // Pieces of the epochs before can no longer be added, and go on being readable.
    const large1 = large(Buffer.from(rng.bytes(5 * 1_024)), KIBIBYTES);
    await arena.refused(
      changed(arena.sign({ "cfg:l": large1 }), "kv-chunks", { ref: "refs/kv-chunks/main@e1" }),
      "CAS_CONFLICT",
    );
    expect(verdict(await http.push(arena.sign({ "cfg:l": large1 })))).toBe("ok");
    expect(git(arena.stargate.dir, "for-each-ref", "--format=%(refname)", "refs/kv-chunks").split("\n")).toEqual([
      "refs/kv-chunks/main@e1",
      "refs/kv-chunks/main@e2",
      "refs/kv-chunks/main@e3",
    ]);
    // And none of all these refs can be deleted, or moved by itself.
    const refs = git(dir, "for-each-ref", "--format=%(refname) %(objectname)").split("\n");
    const ours = refs.map((line) => line.split(" ") as [string, Oid]).filter(([name]) => name.startsWith("refs/kv"));
    expect(new Set(ours.map(([name]) => name.split("/")[1])).size).toBe(7);
    for (const [name, oldOid] of ours) {
      await arena.refused({ commands: [{ ref: name, oldOid, newOid: http.repo.format.zeroOid }] }, "REF_FORBIDDEN");
      if (name === POLICY_REF) continue;
      await arena.refused({ commands: [{ ref: name, oldOid, newOid: before }] }, "REF_FORBIDDEN");
    }
  });
});
