import { expect, test } from "bun:test";
import * as fs from "node:fs";
import * as path from "node:path";
import { lsRefs } from "../../../src/gitwire/protocol/fetch-pack.ts";
import { connect } from "../../../src/gitwire/transport/connect.ts";
import type { ConnectOptions } from "../../../src/gitwire/transport/connect-options.ts";
import { AGENT, connectOptions } from "../../support/connect.ts";
import { failureOf } from "../../support/failure.ts";
import { git } from "../../support/git.ts";
import { bareRepository, repositoryWith } from "../../support/push.ts";
import { tempDir } from "../../support/temp.ts";

async function list(address: string, options: ConnectOptions): Promise<number> {
  const transport = await connect(address, "git-upload-pack", options);
  try {
    return (await lsRefs(transport, [], { agent: AGENT })).refs.length;
  } finally {
    await transport.close();
  }
}

test("a path, relative, with ~, without .git, as a file URL, to a worktree", async () => {
  const { dir } = repositoryWith(1);
  const home = tempDir("home");
  const named = path.join(home, "named.git");
  fs.renameSync(dir, named);
  const clone = path.join(home, "clone");
  git(home, "clone", "-q", named, clone);
  const options = connectOptions([], { HOME: home });
  expect(await list(named, options)).toBe(2);
  expect(await list(path.join(home, "named"), options)).toBe(2);
  expect(await list("~/named.git", options)).toBe(2);
  expect(await list("./named.git", { ...options, cwd: home })).toBe(2);
  expect(await list("../named.git", { ...options, cwd: clone })).toBe(2);
  expect(await list(`file://${named}`, options)).toBe(2);
  expect(await list(clone, options)).toBeGreaterThan(2);
});

test("the variables of our own repository do not lead another one astray", async () => {
  const { dir } = repositoryWith(1);
  const env = { GIT_DIR: bareRepository(), GIT_OBJECT_DIRECTORY: "/nonexistent", GIT_CONFIG_COUNT: "nonsense" };
  expect(await list(dir, connectOptions([], env))).toBe(2);
  expect(await list(dir, { ...connectOptions([], env), program: "git upload-pack" })).toBe(2);
});

test("what is no repository is said to be none", async () => {
  const error = await failureOf(list(tempDir("empty"), connectOptions()));
  expect(error.code).toBe("NOT_A_REPOSITORY");
});

test("a part of the refs that GIT_NAMESPACE asks for is not taken for all of them", async () => {
  const options = connectOptions([], { GIT_NAMESPACE: "part" });
  const error = await failureOf(connect(bareRepository(), "git-upload-pack", options));
  expect([error.code, error.message]).toEqual([
    "UNSUPPORTED",
    "ref namespaces are not served here, and GIT_NAMESPACE is 'part'",
  ]);
});

test("a push does not get around the hooks of a repository", async () => {
  const dir = bareRepository();
  const push = () => connect(dir, "git-receive-pack", connectOptions());
  await (await push()).close();
  const hook = path.join(dir, "hooks/pre-receive");
  fs.writeFileSync(hook, "#!/bin/sh\nexit 1\n", { mode: 0o644 });
  await (await push()).close();
  fs.chmodSync(hook, 0o755);
  const error = await failureOf(push());
  expect([error.code, error.message]).toEqual(["UNSUPPORTED", expect.stringContaining("pre-receive hook")]);
  git(dir, "config", "core.hooksPath", tempDir("no-hooks"));
  await (await push()).close();
});

test("protocols can be forbidden, as with git", async () => {
  const { dir } = repositoryWith(1);
  const forbidden: [string, ConnectOptions][] = [
    [dir, connectOptions([["protocol.file.allow", "never"]])],
    [dir, connectOptions([["protocol.allow", "never"]])],
    [dir, connectOptions([], { GIT_ALLOW_PROTOCOL: "https:ssh" })],
    [dir, connectOptions([], { GIT_PROTOCOL_FROM_USER: "0" })],
    ["https://host.invalid/x", connectOptions([], { GIT_ALLOW_PROTOCOL: "ssh" })],
    ["host.invalid:x", connectOptions([["protocol.ssh.allow", "never"]])],
  ];
  for (const [address, options] of forbidden) {
    const error = await failureOf(list(address, options));
    expect([address, error.code, error.message]).toEqual([
      address,
      "UNSUPPORTED",
      expect.stringContaining("is not allowed"),
    ]);
  }
  const allowed = connectOptions([["protocol.allow", "never"]], { GIT_ALLOW_PROTOCOL: "ssh:file" });
  expect(await list(dir, allowed)).toBe(2);
});

test("protocol.version decides what is asked for", async () => {
  const { dir } = repositoryWith(1);
  const log = path.join(tempDir("log"), "log");
  const program = `echo "$GIT_PROTOCOL" >> ${log}; git upload-pack`;
  for (const version of ["0", "1", "2"]) {
    expect(await list(dir, { ...connectOptions([["protocol.version", version]]), program })).toBe(2);
  }
  expect(await list(dir, { ...connectOptions(), program })).toBe(2);
  expect(fs.readFileSync(log, "utf8")).toBe("\nversion=1\nversion=2\nversion=2\n");
});
