/** The library in Node.js where other programs are needed: ssh, a credential helper, the SSH agent, gpg and ssh-keygen. */

import { afterAll, expect, test } from "bun:test";
import * as fs from "node:fs";
import * as path from "node:path";
import { runProgram } from "../support/executable.ts";
import { git } from "../support/git.ts";
import { kvOk, Scene } from "../support/scene.ts";
import { newGpg, newKey, startAgent } from "../support/signing.ts";
import { startSshd } from "../support/sshd.ts";
import { tempDir } from "../support/temp.ts";

const BUNDLE = path.join(import.meta.dir, "..", "..", "dist", "node", "open-kv-node.js");
const HOME = tempDir("home");

/** Runs the body of a program in Node.js; what it pushes to `said`. */
function inNode(dir: string, body: string, env: Record<string, string> = {}): unknown[] {
  const file = path.join(tempDir("program"), "program.mjs");
  const text = `import { openKv } from ${JSON.stringify(BUNDLE)};\nconst said = [];\n${body}\nconsole.log(JSON.stringify(said));`;
  fs.writeFileSync(file, text);
  const run = runProgram("node", [file], {
    cwd: dir,
    env: { PATH: process.env.PATH, HOME, XDG_CACHE_HOME: HOME, GIT_CONFIG_NOSYSTEM: "1", ...env },
    timeout: 30_000,
  });
  expect(run).toMatchObject({ status: 0, stderr: "" });
  return JSON.parse(run.stdout) as unknown[];
}

test("a credential helper tells the token, and ssh fetches", async () => {
  const scene = await Scene.start();
  const clone = scene.clone("node");
  git(clone, "config", "--unset", `http.${scene.serving.url}/.extraHeader`);
  git(clone, "config", "credential.helper", `!f() { echo username=me; echo password=${scene.token}; }; f`);
  const sshd = await startSshd({ forcedCommand: 'exec sh -c "$SSH_ORIGINAL_COMMAND"' });
  afterAll(() => sshd.stop());
  const url = `ssh://${sshd.user}@127.0.0.1:${sshd.port}${scene.github}`;
  git(clone, "config", "remote.origin.url", url);
  const said = inNode(
    clone,
    `const kv = openKv();
    const { oid } = await kv.set("k", Buffer.alloc(100_000, "x"));
    await kv.wait(oid);
    await kv.fetch();
    said.push((await kv.get("k", { readFrom: "mirror" })).bytes.length);
    kv.close();
    const remote = openKv({ url: ${JSON.stringify(url)} });
    said.push((await remote.get("k")).bytes.length);
    const nowhere = openKv({ url: "ssh://nobody@127.0.0.1:1/x.git" });
    said.push(await nowhere.get("k").catch(({ code }) => code));`,
    { GIT_SSH_COMMAND: sshd.command },
  );
  expect(said).toEqual([100_000, 100_000, "NETWORK"]);
  await scene.serving.stop();
}, 60_000);

test("the SSH agent, ssh-keygen and gpg sign; a program that is not there is said", async () => {
  const dir = tempDir("store");
  kvOk(dir, "init");
  const agent = await startAgent();
  afterAll(() => agent.stop());
  const key = newKey();
  agent.add(key);
  // The agent alone can sign with it.
  fs.rmSync(key.file);
  const gpg = newGpg();
  afterAll(() => gpg.stop());
  const settings = (...all: [string, string][]): void => {
    for (const [name, value] of [["kv.sign", "true"], ...all] as const) git(dir, "config", name, value);
  };
  const set = (name: string): unknown[] =>
    inNode(
      dir,
      `const kv = openKv();
      try {
        await kv.set("k", ${JSON.stringify(name)});
        for await (const { signature } of kv.log()) { said.push(signature.signer ?? signature.state); break; }
      } catch ({ code, message }) { said.push(code, message); }`,
      { SSH_AUTH_SOCK: agent.socket, GNUPGHOME: gpg.home },
    );
  settings(["gpg.format", "ssh"], ["user.signingKey", `${key.file}.pub`]);
  expect(set("agent")).toEqual([expect.stringMatching(/^SHA256:/)]);
  settings(["gpg.ssh.program", "ssh-keygen"]);
  expect(set("ssh-keygen")).toEqual([expect.stringMatching(/^SHA256:/)]);
  settings(["gpg.format", "openpgp"], ["user.signingKey", gpg.fingerprint]);
  expect(set("gpg")).toEqual(["unknown"]);
  settings(["gpg.program", "/nowhere/gpg"]);
  expect(set("none")).toEqual(["IO", "cannot run '/nowhere/gpg' to sign with"]);
}, 60_000);
