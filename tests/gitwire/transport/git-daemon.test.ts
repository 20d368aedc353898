/** The git:// transport against the real `git daemon`. */

import { afterAll, beforeAll, expect, test } from "bun:test";
import * as fs from "node:fs";
import * as net from "node:net";
import * as path from "node:path";
import { lsRefs } from "../../../src/gitwire/protocol/fetch-pack.ts";
import { sendPack } from "../../../src/gitwire/protocol/send-pack.ts";
import { connect } from "../../../src/gitwire/transport/connect.ts";
import { parseUrl } from "../../../src/gitwire/transport/url.ts";
import { AGENT, connectOptions } from "../../support/connect.ts";
import { failureOf } from "../../support/failure.ts";
import { fsck, git } from "../../support/git.ts";
import { freePort } from "../../support/sshd.ts";
import { tempDir } from "../../support/temp.ts";
import { TEST_FORMAT } from "../../support/test-format.ts";

const root = tempDir("daemon");
const dir = path.join(root, "repo.git");
let daemon: Bun.Subprocess<"ignore", "ignore", "pipe">;
let port: number;
let tip: string;

beforeAll(async () => {
  git(root, "init", "-q", "--bare", "-b", "main", dir);
  tip = git(dir, "commit-tree", "-m", "one", git(dir, "mktree"));
  git(dir, "update-ref", "refs/heads/main", tip);
  port = await freePort();
  const args = ["--listen=127.0.0.1", `--port=${port}`, "--export-all", "--enable=receive-pack", "--verbose"];
  daemon = Bun.spawn(["git", "daemon", ...args, `--base-path=${root}`, root], {
    stdin: "ignore",
    stdout: "ignore",
    stderr: "pipe",
  });
  // "Ready to rumble" is its first line.
  await daemon.stderr.getReader().read();
});

afterAll(async () => {
  daemon.kill();
  await daemon.exited;
});

for (const version of [0, 1, 2] as const) {
  test(`lists refs in protocol version ${version}`, async () => {
    const transport = await connect(`git://127.0.0.1:${port}/repo.git`, "git-upload-pack", {
      ...connectOptions(),
      version,
    });
    try {
      const { refs } = await lsRefs(transport, ["refs/heads/"], { agent: AGENT });
      expect(refs.find(({ name }) => name === "refs/heads/main")?.oid).toBe(tip);
    } finally {
      await transport.close();
    }
  });
}

test("core.gitProxy: a program is told host and port and carries the bytes", async () => {
  const command = path.join(root, "proxy");
  const script = [
    "#!/bin/bash",
    `echo "$@" >>'${root}/asked'`,
    "exec 3<>/dev/tcp/$1/$2",
    "cat <&3 &",
    "cat >&3",
    "kill $!",
  ];
  fs.writeFileSync(command, `${script.join("\n")}\n`, { mode: 0o755 });
  const transport = await connect(
    `git://127.0.0.1:${port}/repo.git`,
    "git-upload-pack",
    connectOptions([["core.gitProxy", `${command} for 127.0.0.1`]]),
  );
  try {
    const { refs } = await lsRefs(transport, ["refs/heads/"], { agent: AGENT });
    expect(refs.map(({ oid }) => oid)).toContain(tip);
  } finally {
    await transport.close();
  }
  expect(fs.readFileSync(path.join(root, "asked"), "utf8")).toBe(`127.0.0.1 ${port}\n`);
});

test("pushes", async () => {
  const transport = await connect(`git://127.0.0.1:${port}/repo.git`, "git-receive-pack", connectOptions());
  try {
    const result = await sendPack(transport, {
      commands: [{ ref: "refs/heads/copy", oldOid: TEST_FORMAT.zeroOid, newOid: tip }],
      pack: undefined,
      format: TEST_FORMAT,
      atomic: true,
      pushOptions: [],
      useAdvertisement: true,
      agent: AGENT,
    });
    expect([...result.refs.values()].map(({ ok }) => ok)).toEqual([true]);
  } finally {
    await transport.close();
  }
  expect(git(dir, "rev-parse", "refs/heads/copy")).toBe(tip);
  expect(fsck(dir)).toBe("");
});

test("nobody listens, and a server that hangs up without a word", async () => {
  const closed = await freePort();
  const refused = await failureOf(connect(`git://127.0.0.1:${closed}/x`, "git-upload-pack", connectOptions()));
  expect(refused.code).toBe("NETWORK");
  expect(refused.message).toContain(`git://127.0.0.1:${closed}/x`);
  const server = net.createServer((socket) => socket.once("data", () => socket.end()));
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const address = `git://127.0.0.1:${(server.address() as net.AddressInfo).port}/x`;
  const transport = await connect(address, "git-upload-pack", connectOptions());
  const silent = await failureOf(lsRefs(transport, [], { agent: AGENT }));
  await transport.close();
  await new Promise((resolve) => server.close(resolve));
  expect(silent.code).toBe("NETWORK");
  expect(silent.message).toContain(address);
});

test("addresses", () => {
  expect(parseUrl("git://host/a%20b")).toEqual({ kind: "git", host: "host", port: undefined, path: "/a b" });
  expect(parseUrl("git://[::1]:99/~u/x")).toEqual({ kind: "git", host: "[::1]", port: 99, path: "~u/x" });
  for (const bad of ["git://host", "git://-o/x", "git://host:99999/x", "git://host/a%00b", "git:///x"]) {
    expect(() => parseUrl(bad)).toThrow();
  }
});
