/**
 * Many readers list the refs of a real daemon while transactions come in and a stock git writes and packs other refs beside it: nobody
 * ever sees the ledger of one transaction with the kv-index of another, and what is seen never goes back.
 *
 * GIT_KV_READERS and GIT_KV_TRANSACTIONS set the scale (`make soak`: 200 and 2,000).
 */

import { afterAll, beforeAll, expect, setDefaultTimeout, test } from "bun:test";
import { type DaemonProcess, stargateRepository, startDaemon } from "../support/daemon-process.ts";
import { fsck, git } from "../support/git.ts";
import { tryGitAsync } from "../support/git-async.ts";
import { TestClient } from "../support/stargate.ts";
import { TEST_FORMAT } from "../support/test-format.ts";

const READERS = Number(process.env.GIT_KV_READERS ?? 12);
const TRANSACTIONS = Number(process.env.GIT_KV_TRANSACTIONS ?? 40);

setDefaultTimeout(30 * 60_000);

let dir: string;
let daemon: DaemonProcess;

beforeAll(async () => {
  const made = stargateRepository();
  ({ dir } = made);
  daemon = await startDaemon(dir, made.token);
});

afterAll(() => daemon.stop());

/** Ids of a namespace's two refs in an advertisement (v0) or an ls-refs answer (v2): both have lines `... <oid> <ref>`. */
function pairIn(text: string): { ledger: string | undefined; index: string | undefined } {
  const oidOf = (ref: string): string | undefined =>
    new RegExp(`([0-9a-f]{${TEST_FORMAT.hexSize}}) ${ref}(?:\\0|\\n)`).exec(text)?.[1];
  return { ledger: oidOf("refs/kv/main"), index: oidOf("refs/kv-index/main") };
}

const pkt = (line: string): string => (line.length + 4).toString(16).padStart(4, "0") + line;
const LS_REFS = `${pkt("command=ls-refs\n")}${pkt(`object-format=${TEST_FORMAT.name}`)}0001${pkt("ref-prefix refs/kv")}0000`;

async function list(kind: "advertisement" | "ls-refs"): Promise<string> {
  const { protocol, host, username, password, pathname } = new URL(daemon.address);
  const base = `${protocol}//${host}${pathname}`;
  const authorization = `Basic ${Buffer.from(`${username}:${password}`).toString("base64")}`;
  if (kind === "advertisement") {
    const response = await fetch(`${base}/info/refs?service=git-upload-pack`, { headers: { authorization } });
    return response.text();
  }
  const response = await fetch(`${base}/git-upload-pack`, {
    method: "POST",
    headers: { authorization, "git-protocol": "version=2", "content-type": "application/x-git-upload-pack-request" },
    body: LS_REFS,
  });
  return response.text();
}

test(`${READERS} readers during ${TRANSACTIONS} transactions`, async () => {
  const client = new TestClient(dir, daemon.address);
  await client.set({ a: "0" });
  /** The kv-index that belongs to each ledger, and its place; noted before the push, so a reader can only see what is here. */
  const pairs = new Map<string, { index: string; place: number }>();
  const note = (ledger: string, index: string): void => void pairs.set(ledger, { index, place: pairs.size });
  note(git(dir, "rev-parse", "refs/kv/main"), git(dir, "rev-parse", "refs/kv-index/main"));
  let isOver = false;
  let [listed, torn, backwards] = [0, 0, 0];
  const reader = async (number: number): Promise<void> => {
    for (let last = 0; !isOver; ) {
      const text = await list(number % 2 === 0 ? "advertisement" : "ls-refs");
      const { ledger, index } = pairIn(text);
      expect([ledger, index]).toEqual([expect.any(String), expect.any(String)] as unknown as string[]);
      const pair = pairs.get(ledger!);
      listed++;
      if (pair?.index !== index) torn++;
      if (pair !== undefined && pair.place < last) backwards++;
      last = pair?.place ?? last;
    }
  };
  /** A stock git that goes about its own business in the same repository. */
  const neighbour = async (): Promise<number> => {
    const commit = git(dir, "rev-parse", "HEAD");
    let done = 0;
    for (; !isOver; done++) {
      const runs = [["update-ref", `refs/heads/n${done % 5}`, commit], ["pack-refs", "--all"], ["for-each-ref"]];
      // It may find a lock of ours, as of any other git, and then says so.
      for (const args of runs) await tryGitAsync(dir, args);
    }
    return done;
  };
  const readers = Array.from({ length: READERS }, (_, number) => reader(number));
  const beside = neighbour();
  for (let i = 0; i < TRANSACTIONS; i++) {
    const planned = client.plan({ a: String(i + 1), [`k${i % 10}`]: String(i) });
    note(planned.ledger, planned.commands.find(({ ref }) => ref === "refs/kv-index/main")!.newOid);
    const outcomes = [...(await client.push(planned)).refs.values()];
    expect(outcomes.map((outcome) => (outcome.ok ? "ok" : outcome.reason))).toEqual(["ok", "ok"]);
  }
  isOver = true;
  await Promise.all(readers);
  const rounds = await beside;
  console.error(
    `${listed} lists during ${TRANSACTIONS} transactions and ${rounds} rounds of stock git: ${torn} torn, ${backwards} backwards`,
  );
  expect([torn, backwards]).toEqual([0, 0]);
  expect(listed).toBeGreaterThan(READERS);
  expect(git(dir, "rev-list", "--count", "refs/kv/main")).toBe(String(TRANSACTIONS + 1));
  expect(git(dir, "for-each-ref", "--format=%(refname)", "refs/heads").split("\n").length).toBeGreaterThanOrEqual(1);
  await daemon.stop();
  expect(fsck(dir)).toBe("");
});
