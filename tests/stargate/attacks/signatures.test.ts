/** Attacks on who signed: nothing gets in that a listed key did not sign for this place, within its prefixes and its time. */

import { afterAll, beforeAll, expect, setDefaultTimeout, test } from "bun:test";
import { Arena } from "../../support/arena.ts";
import { withLedger } from "../../support/forged.ts";
import { git, tryGit } from "../../support/git.ts";
import { type Planned, verdict } from "../../support/stargate.ts";
import { OTHER_SIGNATURE_HEADER, SIGNATURE_HEADER } from "../../support/test-format.ts";
import { withHeader } from "../../support/test-key.ts";

setDefaultTimeout(60_000);

let arena: Arena;
beforeAll(async () => {
  arena = await Arena.start();
});
afterAll(() => arena.stop());

const plan = (values: Record<string, string | undefined> = { "cfg:x": "1" }): Planned => arena.http.plan(values);
const edited = (edit: (text: string) => string, planned = plan()): Planned => withLedger(arena.http, planned, edit);

test("unsigned, by a stranger, by a key whose time is over", async () => {
  expect(await arena.refused(plan(), "UNSIGNED")).toContain("hint: ");
  const said = await arena.refused(arena.sign({ "cfg:x": "1" }, arena.stranger), "SIGNER_NOT_ALLOWED");
  expect(said).toContain("is no writer of 'main'");
  await arena.refused(arena.sign({ "cfg:x": "1" }, arena.admin), "SIGNER_NOT_ALLOWED");
  expect(await arena.refused(arena.sign({ "cfg:x": "1" }, arena.former), "SIGNER_NOT_ALLOWED")).toContain("2020-01-01");
});

test("a commit that claims to be from when the key was valid: the time of receipt counts", async () => {
  const old = edited((text) => arena.former.signCommit(text.replaceAll(/> \d+ \+0000/g, "> 1500000000 +0000")));
  await arena.refused(old, "SIGNER_NOT_ALLOWED");
});

test("a commit that claims to be from before the key was valid: let in, no audit would let it pass", async () => {
  const before = (text: string): string =>
    arena.newcomer.signCommit(text.replaceAll(/> \d+ \+0000/g, "> 1500000000 +0000"));
  const said = await arena.refused(edited(before), "SIGNER_NOT_ALLOWED");
  expect(said).toContain("can write from 2020-01-01T00:00:00.000Z on, and the commit says it is from 2017-07-14");
  expect(said).toContain("hint: set the clock right");
  expect(verdict(await arena.http.push(arena.sign({ "cfg:newcomer": "1" }, arena.newcomer)))).toBe("ok");
});

test("outside the signer's prefixes: one key is enough, deletions count, and the message names key, rule and way out", async () => {
  const said = await arena.refused(arena.sign({ "cfg:x": "1", "user:x": "1" }, arena.bot), "PREFIX_NOT_ALLOWED");
  expect(said).toContain('bot may not write "user:x": its prefixes are "cfg:"');
  expect(said).toContain("hint: sign with another key");
  await arena.refused(arena.sign({ "user:b": undefined }, arena.bot), "PREFIX_NOT_ALLOWED");
  await arena.refused(arena.sign({ "other:x": "1" }), "PREFIX_NOT_ALLOWED");
  expect(verdict(await arena.ssh.push(arena.sign({ "cfg:bot": "may" }, arena.bot)))).toBe("ok");
});

test("a signature of another commit, of other bytes, or cut", async () => {
  const signature = arena.alice.sign("tree of something else\n");
  await arena.refused(
    edited((text) => withHeader(text, SIGNATURE_HEADER, signature)),
    "BAD_SIGNATURE",
  );
  const previous = tryGit(arena.stargate.dir, ["cat-file", "commit", "refs/kv/main"]).stdout.toString();
  const moved = /^gpgsig(?:-sha256)? (.*(?:\n .*)*)/m.exec(previous)![1]!.replaceAll("\n ", "\n");
  await arena.refused(
    edited((text) => withHeader(text, SIGNATURE_HEADER, moved)),
    "BAD_SIGNATURE",
  );
  await arena.refused(
    edited((text) => arena.alice.signCommit(text).replace("Keys-Set: 1", "Keys-Set: 2")),
    "BAD_SIGNATURE",
  );
  await arena.refused(
    edited((text) => withHeader(text, SIGNATURE_HEADER, "")),
    "BAD_SIGNATURE",
  );
  const cut = (text: string): string => arena.alice.signCommit(text).replace(/\n .*\n -----END/, "\n -----END");
  await arena.refused(edited(cut), "BAD_SIGNATURE");
});

test("two signatures, headers like a signature, doubled headers", async () => {
  const twice = (name: string, value: string) => (text: string) =>
    withHeader(arena.alice.signCommit(text), name, value);
  await arena.refused(
    edited((text) => arena.alice.signCommit(arena.alice.signCommit(text))),
    "ATTESTATION_MISMATCH",
  );
  for (const name of [OTHER_SIGNATURE_HEADER, "gpgsig2", "GPGSIG", "mergetag", "encoding"])
    await arena.refused(edited(twice(name, "x")), "ATTESTATION_MISMATCH");
  await arena.refused(
    edited((text) => arena.alice.signCommit(text, OTHER_SIGNATURE_HEADER)),
    "ATTESTATION_MISMATCH",
  );
  const doubled = (line: RegExp) => (text: string) => arena.alice.signCommit(text.replace(line, "$&$&"));
  await arena.refused(edited(doubled(/^parent .*\n/m)), "NOT_LINEAR");
  for (const line of [/^tree .*\n/m, /^author .*\n/m, /^committer .*\n/m]) {
    const attempt = edited(doubled(line));
    const said = verdict(await arena.http.push(attempt));
    expect(said).not.toBe("ok");
    await arena.refused(attempt, said);
  }
});

test("another namespace than git, SHA-1 with RSA", async () => {
  const planned = plan();
  await arena.refused(arena.alice.signed(arena.http, planned, { namespace: "file" }), "BAD_SIGNATURE");
  await arena.refused(arena.alice.signed(arena.http, planned, { namespace: "" }), "BAD_SIGNATURE");
  await arena.refused(arena.rsa.signed(arena.http, planned, { algorithm: "ssh-rsa" }), "BAD_SIGNATURE");
  expect(verdict(await arena.http.push(arena.rsa.signed(arena.http, plan({ "cfg:rsa": "1" }))))).toBe("ok");
  expect(
    verdict(
      await arena.http.push(arena.rsa.signed(arena.http, plan({ "cfg:rsa": "2" }), { algorithm: "rsa-sha2-256" })),
    ),
  ).toBe("ok");
});

test("a good commit replayed: to another namespace, later, after a rollback of the disk, in a new epoch", async () => {
  const { dir } = arena.stargate;
  const { zeroOid } = arena.http.repo.format;
  const good = arena.sign({ "cfg:replay": "1" });
  const elsewhere = good.commands.map(({ ref, newOid }) => ({
    ref: ref.replace("/main", "/other"),
    oldOid: zeroOid,
    newOid,
  }));
  await arena.refused({ ...good, commands: elsewhere }, "NOT_FAST_FORWARD");
  const first = git(dir, "rev-list", "--max-parents=0", "refs/kv/main");
  const firstIndex = git(dir, "rev-list", "--max-parents=0", "refs/kv-index/main");
  const root = [
    { ref: "refs/kv/other", oldOid: zeroOid, newOid: first },
    { ref: "refs/kv-index/other", oldOid: zeroOid, newOid: firstIndex },
  ];
  await arena.refused({ commands: root }, "ATTESTATION_MISMATCH");
  expect(verdict(await arena.http.push(good))).toBe("ok");
  const [ledger, index] = good.commands;
  expect(verdict(await arena.http.push(arena.sign({ "cfg:replay": "2" })))).toBe("ok");
  // On top of the newest state, as if it were new.
  const tips = ["refs/kv/main", "refs/kv-index/main"].map((ref) => git(dir, "rev-parse", ref));
  const again = [
    { ...ledger!, oldOid: tips[0]! },
    { ...index!, oldOid: tips[1]! },
  ];
  await arena.refused({ ...good, commands: again }, "NOT_FAST_FORWARD");
  // Somebody has put an old state back; what was signed for it fits, and is known.
  for (const { ref, oldOid } of good.commands) git(dir, "update-ref", ref, oldOid);
  await arena.refused(good, "ATTESTATION_MISMATCH");
  git(dir, "update-ref", "refs/kv/main", tips[0]!);
  git(dir, "update-ref", "refs/kv-index/main", tips[1]!);
  const epoch = edited((text) => arena.alice.signCommit(text.replace("Epoch: e1", "Epoch: e2")));
  await arena.refused(epoch, "ATTESTATION_MISMATCH");
  const parent = edited((text) => arena.alice.signCommit(`${text}Parent-Epoch: e1 ${first}\n`));
  await arena.refused(parent, "ATTESTATION_MISMATCH");
});
