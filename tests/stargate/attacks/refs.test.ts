/** Attacks on refs, policies, push options, names, tokens, and on the moment between check and commit. */

import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { PackBuilder } from "../../../src/gitwire/pack/pack-builder.ts";
import { capabilities } from "../../../src/gitwire/protocol/capabilities.ts";
import { encodePushRequest, type PushCommand } from "../../../src/gitwire/protocol/receive-commands.ts";
import { POLICY_REF } from "../../../src/kv/namespace.ts";
import { Arena } from "../../support/arena.ts";
import { withLedger } from "../../support/forged.ts";
import { git } from "../../support/git.ts";
import { type Planned, policyPush, TestClient, verdict } from "../../support/stargate.ts";
import { TEST_FORMAT } from "../../support/test-format.ts";

setDefaultTimeout(60_000);

let arena: Arena;
let zero: string;
beforeAll(async () => {
  arena = await Arena.start();
  zero = arena.http.repo.format.zeroOid;
});
afterAll(() => arena.stop());

const ref = (name: string): string => git(arena.stargate.dir, "rev-parse", name);

describe("refs", () => {
  test("kv refs without their partners, or with strangers", async () => {
    const planned = arena.sign({ "cfg:x": "1" });
    const [ledger, index] = planned.commands;
    await arena.refused({ ...planned, commands: [ledger!] }, "REF_FORBIDDEN");
    await arena.refused({ ...planned, commands: [index!] }, "REF_FORBIDDEN");
    const other = (name: string, newOid = planned.ledger): PushCommand => ({ ref: name, oldOid: zero, newOid });
    for (const name of [
      "refs/heads/main2",
      "refs/kv/second",
      "refs/kv-chunks/main@e2",
      "refs/kv-chunks/second@e1",
      "refs/kv-mirror/main",
      "refs/kv-archive/main@e1",
      "refs/kv-epoch/main",
      "refs/KV/main",
      "refs/kv-x/y",
      "refs/pull/1/head",
    ])
      await arena.refused({ ...planned, commands: [...planned.commands, other(name)] }, "REF_FORBIDDEN");
    // A commit that is no chunk commit, where one may stand.
    const chunks = [...planned.commands, other("refs/kv-chunks/main@e1")];
    await arena.refused({ ...planned, commands: chunks }, "ATTESTATION_MISMATCH");
    for (const name of [
      "refs/kv-mirror/main",
      "refs/kv-archive/main@e1",
      "refs/kv-chunks/main@e1",
      "refs/kv-epoch/main",
      "refs/kv/a/b",
    ])
      await arena.refused({ ...planned, commands: [other(name)] }, "REF_FORBIDDEN");
  });

  test("a symbolic ref that leads to one of ours", async () => {
    const planned = arena.sign({ "cfg:x": "1" });
    const before = ref("refs/kv/main");
    const chains = { "refs/heads/alias": "refs/kv/main", "refs/heads/again": "refs/heads/alias" };
    for (const [name, target] of Object.entries(chains)) git(arena.stargate.dir, "symbolic-ref", name, target);
    for (const name of Object.keys(chains)) {
      for (const newOid of [planned.ledger, zero]) {
        const commands = [{ ref: name, oldOid: before, newOid }];
        await arena.refused({ ...planned, commands }, "REF_FORBIDDEN");
      }
    }
    for (const name of Object.keys(chains)) git(arena.stargate.dir, "symbolic-ref", "--delete", name);
    expect(ref("refs/kv/main")).toBe(before);
  });

  test("deletion and rewind of whatever is ours", async () => {
    const gone = (name: string): PushCommand => ({ ref: name, oldOid: ref(name), newOid: zero });
    await arena.refused({ commands: [gone("refs/kv/main"), gone("refs/kv-index/main")] }, "REF_FORBIDDEN");
    for (const name of ["refs/kv/main", "refs/kv-index/main", POLICY_REF])
      await arena.refused({ commands: [gone(name)] }, "REF_FORBIDDEN");
    await arena.http.push(arena.sign({ "cfg:before": "the rewind" }));
    const back = (name: string): PushCommand => ({ ref: name, oldOid: ref(name), newOid: ref(`${name}^`) });
    await arena.refused({ commands: [back("refs/kv/main"), back("refs/kv-index/main")] }, "NOT_FAST_FORWARD");
    const policy = arena.office;
    const before = ref(POLICY_REF);
    expect(verdict(await policy.push({ commands: [back(POLICY_REF)] }))).toBe("NOT_FAST_FORWARD");
    expect(ref(POLICY_REF)).toBe(before);
    // The ledger onto the kv-index, and the other way round.
    const crossed = [
      { ref: "refs/kv/main", oldOid: ref("refs/kv/main"), newOid: ref("refs/kv-index/main") },
      { ref: "refs/kv-index/main", oldOid: ref("refs/kv-index/main"), newOid: ref("refs/kv/main") },
    ];
    await arena.refused({ commands: crossed }, "ATTESTATION_MISMATCH");
  });

  test("names with .., control bytes, %2e and the like", async () => {
    const planned = arena.sign({ "cfg:x": "1" });
    for (const name of [
      "refs/kv/../heads/main",
      "refs/kv/..",
      "refs/kv/a..b",
      "refs/kv/a\x01b",
      "refs/kv/.x",
      "refs/kv/x.lock",
      "../../etc/x",
      "refs/kv/-x",
      "refs/kv/%2e%2e",
      "refs/kv/a b",
      "refs/kv/main\n",
    ]) {
      const commands = planned.commands.map((command, i) =>
        i === 0 ? { ...command, ref: name, oldOid: zero } : command,
      );
      const before = git(arena.stargate.dir, "for-each-ref");
      for (const client of [arena.http, arena.ssh]) {
        const said = await client.push({ ...planned, commands }).then(verdict, (error: Error) => error.message);
        expect([name, said]).not.toEqual([name, "ok"]);
      }
      expect(git(arena.stargate.dir, "for-each-ref")).toBe(before);
    }
  });
});

describe("policies", () => {
  test("a push that brings its own policy, or was made under one", async () => {
    const lax = policyPush(arena.http, "version: 1\n");
    const planned = arena.sign({ "cfg:x": "1" }, arena.stranger);
    const pack = new PackBuilder(arena.http.repo.format);
    for (const { kind, data } of planned.objects.values()) pack.write(kind, data);
    policyPush(arena.http, "version: 1\n", undefined, undefined, pack);
    await arena.refused({ ...planned, pack, commands: [...planned.commands, ...lax.commands] }, "REF_FORBIDDEN");
    const own = withLedger(arena.http, arena.http.plan({ "cfg:x": "1" }), (text) =>
      arena.stranger.signCommit(text.replace(ref(POLICY_REF), lax.commands[0]!.newOid)),
    );
    await arena.refused(own, "POLICY_STALE");
    const none = withLedger(arena.http, arena.http.plan({ "cfg:x": "1" }), (text) =>
      arena.alice.signCommit(text.replace(`KV-Policy: ${ref(POLICY_REF)}`, "KV-Policy: -")),
    );
    await arena.refused(none, "POLICY_STALE");
  });

  test("the rights of an admin, claimed by a writer", async () => {
    const before = ref(POLICY_REF);
    const signedBy = (key: { signCommit(text: string): string } | undefined) =>
      policyPush(arena.office, "version: 1\n", undefined, key && ((text) => key.signCommit(text)));
    // By scope, and by key.
    await arena.refused(signedBy(arena.admin), "FORBIDDEN");
    for (const key of [arena.alice, arena.bot, arena.stranger, undefined])
      expect(verdict(await arena.office.push(signedBy(key)))).toBe("POLICY_UNTRUSTED");
    expect(ref(POLICY_REF)).toBe(before);
    // Two links at once, the first making a writer an admin, the second signed by it.
    const usurped = arena.policy().replace(JSON.stringify(arena.admin.line), JSON.stringify(arena.alice.line));
    const pack = new PackBuilder(arena.http.repo.format);
    const first = policyPush(arena.office, usurped, undefined, (text) => arena.alice.signCommit(text), pack);
    const second = policyPush(
      arena.office,
      usurped,
      [first.commands[0]!.newOid],
      (text) => arena.alice.signCommit(text),
      pack,
    );
    expect(verdict(await arena.office.push(second))).toBe("POLICY_UNTRUSTED");
    expect(ref(POLICY_REF)).toBe(before);
  });
});

test("push options with line breaks, NUL, semicolons, ten thousand of them", async () => {
  const planned = arena.sign({ "cfg:options": "1" });
  const list = capabilities(["report-status"], ["push-options"], ["object-format", TEST_FORMAT.name]);
  let sent = planned;
  const body = (pushOptions: readonly string[]): Buffer =>
    Buffer.concat([
      encodePushRequest({ commands: sent.commands, capabilities: list, pushOptions }),
      ...sent.pack.finish().chunks(),
    ]);
  async function throughHttp(options: readonly string[]): Promise<string> {
    const url = new URL(arena.http.address);
    const response = await fetch(`${url.origin}${url.pathname}/git-receive-pack`, {
      method: "POST",
      body: new Uint8Array(body(options)),
      headers: {
        "Content-Type": "application/x-git-receive-pack-request",
        Authorization: `Basic ${btoa(`${url.username}:${url.password}`)}`,
      },
    });
    return await response.text();
  }
  async function throughSsh(options: readonly string[]): Promise<string> {
    const { hostname, port, username } = new URL(arena.ssh.address);
    const login = `exec ${arena.ssh.env.GIT_SSH_COMMAND} -p ${port} ${username}@${hostname}`;
    const child = Bun.spawn(["sh", "-c", `${login} "git-receive-pack 'kv.git'"`], {
      stdin: new Uint8Array(body(options)),
      stderr: "ignore",
    });
    return await new Response(child.stdout).text();
  }
  const tip = arena.tip;
  for (const options of [
    ["a\nb"],
    ["a\0b"],
    ["\x7f"],
    ["x".repeat(5_000)],
    Array.from({ length: 10_000 }, (_, i) => `o${i}`),
  ]) {
    for (const answer of [throughHttp, throughSsh]) {
      expect(await answer(options)).not.toContain("ok refs/kv/main");
      expect(arena.tip).toBe(tip);
    }
  }
  for (const option of [
    "expect-tree=;rm -rf /",
    "expect-blob=../x:0;",
    "expect-tree=$(id)",
    "expect-",
    "expect-blob=%41:0",
  ])
    await arena.refused(planned, "INPUT_INVALID", [option]);
  // One that means nothing to us is only text.
  for (const answer of [throughHttp, throughSsh]) {
    sent = arena.sign({ "cfg:options": answer.name });
    expect(await answer(["ci.skip; echo $HOME `id`"])).toContain("ok refs/kv/main");
    expect(arena.tip).toBe(sent.ledger);
  }
});

test("keys that look like paths, flags and escapes are keys like others", async () => {
  const keys = [
    "..",
    ".",
    "-rf",
    "%2e%2e",
    "%",
    ".git",
    "../../etc/passwd",
    "cfg:a\u2028KV-NS: x",
    "cfg:CON",
    "cfg:~/x",
    "cfg:a@{1}",
  ];
  expect(verdict(await arena.http.push(arena.sign(Object.fromEntries(keys.map((key) => [key, key])))))).toBe("ok");
  const listed = git(arena.stargate.dir, "ls-tree", "-r", "-t", "--name-only", "refs/kv/main");
  expect(listed.split(/[\n/]/).filter((name) => /^(?:\.|\.\.|\.git)$/i.test(name))).toEqual([]);
  expect(git(arena.stargate.dir, "fsck", "--strict", "--no-dangling")).toBe("");
});

test("names of repositories", async () => {
  const { origin, username, password } = new URL(arena.http.address);
  const headers = { Authorization: `Basic ${btoa(`${username}:${password}`)}` };
  for (const name of ["..%2fkv.git", "-kv.git", "kv.git%00", "kv.git%0a", "/etc", "kv.git/objects", ""]) {
    const response = await fetch(`${origin}/${name}/info/refs?service=git-receive-pack`, {
      headers,
      redirect: "manual",
    });
    expect([name, response.status]).toEqual([name, 404]);
  }
  for (const name of ["../kv.git", "/etc", "-kv.git", "kv.git/..", "%256bv.git", "~root/kv.git"]) {
    const address = arena.ssh.address.replace(/\/kv\.git$/, `/${name}`);
    const client = new TestClient(arena.stargate.dir, address, arena.ssh.env);
    const said = await client.push(arena.sign({ "cfg:x": "1" })).then(verdict, (error: { code: string }) => error.code);
    expect([name, said]).not.toEqual([name, "ok"]);
  }
});

test("a token guessed byte by byte: nothing tells how much of it is right", async () => {
  const { origin, password } = new URL(arena.http.address);
  const ask = async (token: string): Promise<string> => {
    const response = await fetch(`${origin}/kv.git/info/refs?service=git-receive-pack`, {
      headers: { Authorization: `Bearer ${token}` },
    });
    return `${response.status} ${(await response.text()).replace(/\d+ s/, "N s")}`;
  };
  expect(await ask(password)).toStartWith("200 ");
  const wrong = new Set<string>();
  for (let right = 0; right < password.length; right++) {
    const guess = password.slice(0, right) + (password[right] === "A" ? "B" : "A") + password.slice(right + 1);
    wrong.add(await ask(guess));
    wrong.add(await ask(password.slice(0, right)));
  }
  wrong.add(await ask(`${password}A`));
  // Whoever guesses is soon told to wait; those whose token was good before are not.
  expect([...wrong].sort()).toEqual([expect.stringMatching(/^401 /), "429 too many wrong tokens: try again in N s\n"]);
  expect(await ask(password)).toStartWith("200 ");
});

test("pushes that race between check and commit: one of each round gets in, through either door", async () => {
  for (let round = 0; round < 8; round++) {
    const before = arena.tip;
    const rivals: [TestClient, Planned][] = [arena.http, arena.ssh, arena.http, arena.ssh].map((client, i) => [
      client,
      arena.sign({ "cfg:race": `${round} ${i}`, [`cfg:race${i}`]: `${round}` }),
    ]);
    const said = await Promise.all(rivals.map(async ([client, planned]) => verdict(await client.push(planned))));
    expect(said.filter((one) => one === "ok")).toHaveLength(1);
    expect(said.filter((one) => one !== "ok" && one !== "CAS_CONFLICT")).toEqual([]);
    expect(arena.tip).toBe(rivals[said.indexOf("ok")]![1].ledger);
    expect(ref("refs/kv/main^")).toBe(before);
    const trailer = git(
      arena.stargate.dir,
      "log",
      "-1",
      "--format=%(trailers:key=KV-Ledger-Tree,valueonly)",
      "refs/kv-index/main",
    );
    expect(trailer.trim()).toBe(ref("refs/kv/main^{tree}"));
  }
});
