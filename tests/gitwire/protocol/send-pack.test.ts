import { afterAll, expect, test } from "bun:test";
import * as fs from "node:fs";
import * as path from "node:path";
import { KvError } from "../../../src/errors.ts";
import { bytesSource } from "../../../src/gitwire/protocol/byte-stream.ts";
import { PktReader } from "../../../src/gitwire/protocol/pkt-line.ts";
import {
  type PushOrder,
  type PushResult,
  readPushAdvertisement,
  sendPack,
} from "../../../src/gitwire/protocol/send-pack.ts";
import type { Transport } from "../../../src/gitwire/protocol/transport.ts";
import { connect } from "../../../src/gitwire/transport/connect.ts";
import { AGENT, connectOptions } from "../../support/connect.ts";
import { failureOf } from "../../support/failure.ts";
import { fsck, git } from "../../support/git.ts";
import { startHttpBackend } from "../../support/http-backend.ts";
import { bareRepository, packWithCommit, repositoryWith } from "../../support/push.ts";
import { tempDir } from "../../support/temp.ts";
import { OTHER_FORMAT, TEST_FORMAT } from "../../support/test-format.ts";

const http = startHttpBackend(path.dirname(bareRepository()));
afterAll(() => http.stop());

/** Where a repository is and what serves it: real git over HTTP and over a pipe (as behind ssh), our own session by its path. */
interface Way {
  readonly address: string;
  readonly program?: string;
}
const WAYS: Readonly<Record<string, (dir: string) => Way>> = {
  http: (dir) => ({ address: `${http.url}/${path.basename(dir)}` }),
  pipe: (dir) => ({ address: dir, program: "git receive-pack" }),
  local: (dir) => ({ address: dir }),
};

function open({ address, program }: Way): Promise<Transport> {
  return connect(address, "git-receive-pack", { ...connectOptions(), program });
}

async function push(way: Way, what: Partial<PushOrder>): Promise<PushResult> {
  const transport = await open(way);
  try {
    return await sendPack(transport, {
      commands: [],
      pack: undefined,
      format: TEST_FORMAT,
      atomic: false,
      pushOptions: [],
      useAdvertisement: true,
      agent: AGENT,
      ...what,
    });
  } finally {
    await transport.close();
  }
}

const ZERO = TEST_FORMAT.zeroOid;
const MAIN = "refs/heads/main";

for (const [name, way] of Object.entries(WAYS)) {
  for (const useAdvertisement of [true, false]) {
    test(`${name}, advertisement ${useAdvertisement}: create, move, refuse a stale old id, delete`, async () => {
      const dir = bareRepository();
      git(dir, "config", "receive.denyDeleteCurrent", "ignore");
      const first = packWithCommit("first");
      const second = packWithCommit("second", { parent: first.commit });
      const created = await push(way(dir), {
        commands: [{ ref: MAIN, oldOid: ZERO, newOid: first.commit }],
        pack: first.pack,
        useAdvertisement,
      });
      expect([created.unpack, created.refs.get(MAIN)]).toEqual(["ok", { ok: true }]);
      const moved = await push(way(dir), {
        commands: [{ ref: MAIN, oldOid: first.commit, newOid: second.commit }],
        pack: second.pack,
        useAdvertisement,
      });
      expect(moved.refs.get(MAIN)).toEqual({ ok: true });
      const stale = await push(way(dir), {
        commands: [{ ref: MAIN, oldOid: first.commit, newOid: packWithCommit("x", { parent: first.commit }).commit }],
        pack: packWithCommit("x", { parent: first.commit }).pack,
        useAdvertisement,
      });
      expect([stale.unpack, stale.refs.get(MAIN)?.ok]).toEqual(["ok", false]);
      expect(git(dir, "rev-parse", MAIN)).toBe(second.commit);
      expect(fsck(dir)).toBe("");
      const deleted = await push(way(dir), {
        commands: [{ ref: MAIN, oldOid: second.commit, newOid: ZERO }],
        useAdvertisement,
      });
      expect(deleted.refs.get(MAIN)).toEqual({ ok: true });
      expect(git(dir, "for-each-ref")).toBe("");
    });
  }

  test(`${name}: a ref to an object that is there already needs no pack`, async () => {
    const { dir, commits } = repositoryWith(2);
    const result = await push(way(dir), { commands: [{ ref: "refs/heads/old", oldOid: ZERO, newOid: commits[0]! }] });
    expect(result.refs.get("refs/heads/old")).toEqual({ ok: true });
    expect([...result.advertised!.refs]).toEqual([{ name: MAIN, oid: commits[1]! }]);
    expect(git(dir, "rev-parse", "refs/heads/old")).toBe(commits[0]!);
  });

  test(`${name}: an atomic push moves all refs or none, another those it can`, async () => {
    const { dir, commits } = repositoryWith(2);
    const commands = [
      { ref: "refs/heads/good", oldOid: ZERO, newOid: commits[0]! },
      { ref: "refs/heads/bad", oldOid: commits[0]!, newOid: commits[1]! },
    ];
    const atomic = await push(way(dir), { commands, atomic: true });
    expect([...atomic.refs.values()].map(({ ok }) => ok)).toEqual([false, false]);
    expect(git(dir, "for-each-ref", "--format=%(refname)")).toBe(MAIN);
    const each = await push(way(dir), { commands });
    expect([...each.refs.values()].map(({ ok }) => ok)).toEqual([true, false]);
    expect(git(dir, "for-each-ref", "--format=%(refname)")).toBe(`refs/heads/good\n${MAIN}`);
  });

  test(`${name}: a pack that lacks an object is refused`, async () => {
    const dir = bareRepository();
    const { pack, commit } = packWithCommit("orphan", { parent: "1".repeat(TEST_FORMAT.hexSize) });
    const result = await push(way(dir), { commands: [{ ref: MAIN, oldOid: ZERO, newOid: commit }], pack });
    expect(result.refs.get(MAIN)?.ok).toBe(false);
    expect(git(dir, "for-each-ref")).toBe("");
  });

  test(`${name}: a damaged pack is refused, and the reason told`, async () => {
    const dir = bareRepository();
    const { pack, commit } = packWithCommit("damaged");
    const bytes = Buffer.concat([...pack.chunks()]);
    bytes[bytes.length - 1]! ^= 1;
    const broken = { byteLength: bytes.length, thin: false, chunks: () => [bytes] };
    const result = await push(way(dir), {
      commands: [{ ref: MAIN, oldOid: ZERO, newOid: commit }],
      pack: broken,
    });
    expect(result.unpack).not.toBe("ok");
    expect(result.refs.get(MAIN)?.ok).toBe(false);
  });

  test(`${name}: a repository of the other format; a push that is not of its own is refused before it is sent`, async () => {
    const dir = bareRepository(OTHER_FORMAT.name);
    const { pack, commit } = packWithCommit("its ids", { format: OTHER_FORMAT });
    const commands = [{ ref: MAIN, oldOid: OTHER_FORMAT.zeroOid, newOid: commit }];
    const result = await push(way(dir), { commands, pack, format: OTHER_FORMAT });
    expect(result.refs.get(MAIN)).toEqual({ ok: true });
    expect(fsck(dir)).toBe("");
    const other = packWithCommit("our ids");
    const error = await failureOf(
      push(way(dir), { commands: [{ ref: MAIN, oldOid: ZERO, newOid: other.commit }], pack: other.pack }),
    );
    expect(error.code).toBe("UNSUPPORTED");
  });

  test(`${name}: many refs in one push`, async () => {
    const { dir, commits } = repositoryWith(1);
    const commands = Array.from({ length: 500 }, (_, i) => ({
      ref: `refs/heads/many/${i}`,
      oldOid: ZERO,
      newOid: commits[0]!,
    }));
    const result = await push(way(dir), { commands, atomic: true });
    expect(result.refs.size).toBe(500);
    expect([...result.refs.values()].every(({ ok }) => ok)).toBe(true);
    expect(git(dir, "for-each-ref", "refs/heads/many").split("\n")).toHaveLength(500);
  });
}

test("push options and progress reach the other side and us", async () => {
  const dir = bareRepository();
  const hook = '#!/bin/sh\necho "options: $GIT_PUSH_OPTION_COUNT $GIT_PUSH_OPTION_0 $GIT_PUSH_OPTION_1" >&2\n';
  fs.writeFileSync(path.join(dir, "hooks/pre-receive"), hook, { mode: 0o755 });
  for (const useAdvertisement of [true, false]) {
    for (const way of [WAYS.http!(dir), WAYS.pipe!(dir)]) {
      let text = "";
      const { pack, commit } = packWithCommit(`options ${text}`);
      const old = git(dir, "for-each-ref", "--format=%(objectname)", MAIN);
      await push(way, {
        commands: [{ ref: MAIN, oldOid: old === "" ? ZERO : old, newOid: commit }],
        pack,
        pushOptions: ["expect-tree=abc", "ünï code"],
        useAdvertisement,
        progress: (piece) => {
          text += piece;
        },
      });
      expect(text).toContain("options: 2 expect-tree=abc ünï code");
    }
  }
});

test("what a hook says when it refuses", async () => {
  const dir = bareRepository();
  fs.writeFileSync(path.join(dir, "hooks/update"), "#!/bin/sh\necho 'CAS_CONFLICT: no' >&2\nexit 1\n", { mode: 0o755 });
  const { pack, commit } = packWithCommit("refused");
  const result = await push(WAYS.pipe!(dir), { commands: [{ ref: MAIN, oldOid: ZERO, newOid: commit }], pack });
  expect(result.refs.get(MAIN)).toEqual({ ok: false, reason: "hook declined" });
});

test("what the server does not offer is not asked of it", async () => {
  const { dir, commits } = repositoryWith(1);
  git(dir, "config", "receive.advertiseAtomic", "false");
  git(dir, "config", "receive.advertisePushOptions", "false");
  const commands = [{ ref: "refs/heads/x", oldOid: ZERO, newOid: commits[0]! }];
  const atomic = await failureOf(push(WAYS.pipe!(dir), { commands, atomic: true }));
  const options = await failureOf(push(WAYS.pipe!(dir), { commands, pushOptions: ["x"] }));
  for (const error of [atomic, options]) expect(error.code).toBe("UNSUPPORTED");
  expect(atomic.message).toContain("'atomic'");
  expect(options.message).toContain("'push-options'");
  const plain = await push(WAYS.pipe!(dir), { commands });
  expect(plain.refs.get("refs/heads/x")).toEqual({ ok: true });
});

test("the refs can be looked at first, and the same connection pushed to", async () => {
  for (const way of Object.values(WAYS)) {
    const { dir, commits } = repositoryWith(1);
    const transport = await open(way(dir));
    const refs = [...(await readPushAdvertisement(transport)).refs];
    expect(refs).toEqual([{ name: MAIN, oid: commits[0]! }]);
    const { pack, commit } = packWithCommit("next", { parent: refs[0]!.oid });
    const result = await sendPack(transport, {
      commands: [{ ref: MAIN, oldOid: refs[0]!.oid, newOid: commit }],
      pack,
      format: TEST_FORMAT,
      atomic: true,
      pushOptions: [],
      useAdvertisement: true,
      agent: AGENT,
    });
    await transport.close();
    expect(result.refs.get(MAIN)).toEqual({ ok: true });
    expect(fsck(dir)).toBe("");
  }
});

/** A program that plays a server: it says `greeting`, then runs `rest`. */
function player(greeting: string, rest: string): Way {
  const dir = bareRepository();
  const script = path.join(tempDir("player"), "play");
  const file = path.join(path.dirname(script), "greeting");
  fs.writeFileSync(file, greeting);
  fs.writeFileSync(script, `#!/bin/sh\ncat ${file}\n${rest}\n`, { mode: 0o755 });
  return { address: dir, program: script };
}

function line(text: string): string {
  return (Buffer.byteLength(text) + 4).toString(16).padStart(4, "0") + text;
}

const GREETING = `${line(`${ZERO} capabilities^{}\0report-status delete-refs side-band-64k atomic object-format=${TEST_FORMAT.name}\n`)}0000`;

test("a server that dies after the pack leaves the outcome open; before its greeting it does not", async () => {
  const { pack, commit } = packWithCommit("lost");
  const order = { commands: [{ ref: MAIN, oldOid: ZERO, newOid: commit }], pack };
  const cases: [greeting: string, rest: string, code: string, unknown: boolean | undefined][] = [
    [GREETING, "sleep 0.2; exit 1", "NETWORK", true],
    [GREETING, "sleep 0.2; printf '0013\\001000eunpack ok\\n'", "NETWORK", true],
    [GREETING, "sleep 0.2; printf '000a\\003boom!'", "REMOTE_REJECTED", true],
    [GREETING, "sleep 0.2; printf '000eERR not so'", "REMOTE_REJECTED", undefined],
    ["", "exit 7", "NETWORK", undefined],
    [GREETING.slice(0, 40), "exit 7", "NETWORK", undefined],
    [line("ERR go away\n"), "", "REMOTE_REJECTED", undefined],
    ["<html>", "sleep 0.1", "PROTOCOL", undefined],
  ];
  for (const [greeting, rest, code, unknown] of cases) {
    const error = await failureOf(push(player(greeting, rest), order));
    expect([greeting, rest, error.code, error.data?.unknownOutcome]).toEqual([greeting, rest, code, unknown]);
  }
});

test("a server that hangs up while a large pack is on its way: nothing can have been taken", async () => {
  const extra = Array.from({ length: 40 }, () => crypto.getRandomValues(new Uint8Array(60_000)));
  const { pack, commit } = packWithCommit("large", { extra });
  const order = { commands: [{ ref: MAIN, oldOid: ZERO, newOid: commit }], pack };
  const silent = await failureOf(push(player(GREETING, "sleep 0.1; exit 1"), order));
  expect([silent.code, silent.data?.unknownOutcome]).toEqual(["NETWORK", undefined]);
  const report = `${line(`\u0001${line("unpack LIMIT_EXCEEDED: too large\n")}${line(`ng ${MAIN} no\n`)}0000`)}0000`;
  const file = path.join(tempDir("report"), "report");
  fs.writeFileSync(file, report, "latin1");
  const told = await push(player(GREETING, `head -c 1000 >/dev/null; cat ${file}; sleep 0.1`), order);
  expect([told.unpack, told.refs.get(MAIN)]).toEqual(["LIMIT_EXCEEDED: too large", { ok: false, reason: "no" }]);
});

test("a ref the report does not name was not done", async () => {
  const report = `${line(`\u0001${line("unpack ok\n")}${line("ok refs/heads/other\n")}0000`)}0000`;
  const file = path.join(tempDir("report"), "report");
  fs.writeFileSync(file, report, "latin1");
  const { pack, commit } = packWithCommit("forgotten");
  const result = await push(player(GREETING, `sleep 0.1; cat ${file}`), {
    commands: [{ ref: MAIN, oldOid: ZERO, newOid: commit }],
    pack,
  });
  expect(result.refs).toEqual(new Map([[MAIN, { ok: false, reason: "the server did not report on it" }]]));
});

/** Pushes to a server that answers a single POST with these bytes. */
async function pushAnswered(answer: Buffer): Promise<PushResult | KvError> {
  const transport: Transport = {
    url: "http://host.invalid/x",
    service: "git-receive-pack",
    stateless: true,
    greeting: () => Promise.reject(new Error("not asked for")),
    request: () => ({ reader: new PktReader(bytesSource(answer)), isSent: () => true }),
    close: async () => {},
  };
  const order: PushOrder = {
    commands: [{ ref: MAIN, oldOid: "1".repeat(TEST_FORMAT.hexSize), newOid: ZERO }],
    pack: undefined,
    format: TEST_FORMAT,
    atomic: true,
    pushOptions: [],
    useAdvertisement: false,
    agent: AGENT,
  };
  try {
    return await sendPack(transport, order);
  } catch (error) {
    if (error instanceof KvError) return error;
    throw error;
  }
}

const ANSWER = Buffer.from(
  `${line("\u0002hello\n")}${line(`\u0001${line("unpack ok\n")}${line(`ok ${MAIN}\n`)}0000`)}0000`,
  "latin1",
);

test("an answer cut at any byte before the end of its report leaves the outcome open", async () => {
  for (let end = 0; end <= ANSWER.length; end++) {
    const result = await pushAnswered(ANSWER.subarray(0, end));
    // The last flush, behind the report, may be missing.
    if (end >= ANSWER.length - 4) expect([end, (result as PushResult).refs.get(MAIN)]).toEqual([end, { ok: true }]);
    else expect([end, (result as KvError).data?.unknownOutcome]).toEqual([end, true]);
  }
});

test("an answer with any byte flipped is an error or a report, never a success of something else", async () => {
  for (let at = 0; at < ANSWER.length; at++) {
    for (const bit of [1, 2, 0x10, 0x80]) {
      const bytes = Buffer.from(ANSWER);
      bytes[at]! ^= bit;
      const result = await pushAnswered(bytes);
      if (result instanceof KvError) expect(result.code).not.toBe("BUG");
      else expect([...result.refs.keys()]).toEqual([MAIN]);
    }
  }
});
