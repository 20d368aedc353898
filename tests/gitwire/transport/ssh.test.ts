import { afterAll, expect, test } from "bun:test";
import * as fs from "node:fs";
import * as path from "node:path";
import { fetchPack, lsRefs } from "../../../src/gitwire/protocol/fetch-pack.ts";
import { sendPack } from "../../../src/gitwire/protocol/send-pack.ts";
import { openRepository } from "../../../src/gitwire/repo.ts";
import { connect } from "../../../src/gitwire/transport/connect.ts";
import type { ConnectOptions } from "../../../src/gitwire/transport/connect-options.ts";
import { withoutRepository } from "../../../src/gitwire/transport/environment.ts";
import { sshCommand } from "../../../src/gitwire/transport/ssh.ts";
import { parseUrl, type SshUrl } from "../../../src/gitwire/transport/url.ts";
import { AGENT, connectOptions } from "../../support/connect.ts";
import { failureOf } from "../../support/failure.ts";
import { fsck, git, tryGit } from "../../support/git.ts";
import { bareRepository, packWithCommit, repositoryWith } from "../../support/push.ts";
import { freePort, startSshd } from "../../support/sshd.ts";
import { tempDir } from "../../support/temp.ts";
import { TEST_FORMAT } from "../../support/test-format.ts";

const commands = path.join(tempDir("ssh"), "commands");
const sshd = await startSshd({
  forcedCommand: `echo "$GIT_PROTOCOL $SSH_ORIGINAL_COMMAND" >> ${commands}; exec sh -c "$SSH_ORIGINAL_COMMAND"`,
});
afterAll(() => sshd.stop());
const ENV = { GIT_SSH_COMMAND: sshd.command };

function address(dir: string): string {
  return `ssh://${sshd.user}@127.0.0.1:${sshd.port}${dir}`;
}

async function list(url: string, options: ConnectOptions): Promise<number> {
  const transport = await connect(url, "git-upload-pack", options);
  try {
    return (await lsRefs(transport, [], { agent: AGENT })).refs.length;
  } finally {
    await transport.close();
  }
}

test("a fetch and a push through a real sshd, in protocol v2 and v0", async () => {
  const { dir, commits } = repositoryWith(3);
  const into = bareRepository();
  const repo = openRepository(into);
  const fetching = await connect(address(dir), "git-upload-pack", connectOptions([], ENV));
  await fetchPack(fetching, { wants: [commits[2]!], haves: [], destination: repo, agent: AGENT });
  await fetching.close();
  git(into, "update-ref", "refs/heads/main", commits[2]!);
  expect(fsck(into)).toBe("");

  const { pack, commit } = packWithCommit("by ssh", { parent: commits[2]! });
  const pushing = await connect(address(dir), "git-receive-pack", connectOptions([], ENV));
  const result = await sendPack(pushing, {
    commands: [{ ref: "refs/heads/main", oldOid: commits[2]!, newOid: commit }],
    pack,
    format: TEST_FORMAT,
    atomic: true,
    pushOptions: [],
    useAdvertisement: false,
    agent: AGENT,
  });
  await pushing.close();
  expect(result.refs.get("refs/heads/main")).toEqual({ ok: true });
  expect(git(dir, "rev-parse", "main")).toBe(commit);
  expect(fsck(dir)).toBe("");
  expect(fs.readFileSync(commands, "utf8")).toBe(`version=2 git-upload-pack '${dir}'\n git-receive-pack '${dir}'\n`);
});

test("odd paths arrive as they are", async () => {
  const { dir } = repositoryWith(1);
  const odd = path.join(tempDir("odd"), "it's a repo! $HOME `x`");
  fs.renameSync(dir, odd);
  expect(await list(`${sshd.user}@[127.0.0.1:${sshd.port}]:${odd}`, connectOptions([], ENV))).toBe(2);
});

test("core.sshCommand, and the program of remote.<name>.uploadpack", async () => {
  const { dir } = repositoryWith(1);
  const options = { ...connectOptions([["core.sshCommand", sshd.command]]), program: "git upload-pack --strict" };
  expect(await list(address(dir), options)).toBe(2);
  expect(fs.readFileSync(commands, "utf8")).toEndWith(`version=2 git upload-pack --strict '${dir}'\n`);
});

test("errors: no repository, no login, nobody there, no ssh", async () => {
  let said = "";
  const options = {
    ...connectOptions([], ENV),
    onMessage: (text: string) => {
      said += text;
    },
  };
  const missing = await failureOf(list(address("/nowhere/x.git"), options));
  expect([missing.code, missing.data?.status]).toEqual(["NETWORK", 128]);
  expect(missing.message).toContain("does not appear to be a git repository");
  expect(said).toContain("does not appear to be a git repository");
  expect(missing.hint).toContain("your key may log in");

  const stranger = { GIT_SSH_COMMAND: sshd.command.replace("user_key", "host_key") };
  const denied = await failureOf(list(address("/x"), { ...options, ...connectOptions([], stranger) }));
  expect([denied.code, denied.message]).toEqual(["NETWORK", expect.stringContaining("Permission denied")]);

  const closed = `ssh://127.0.0.1:${await freePort()}/x`;
  const unreachable = await failureOf(list(closed, options));
  expect([unreachable.code, unreachable.data?.status]).toEqual(["NETWORK", 255]);

  const without = await failureOf(list(closed, connectOptions([], { GIT_SSH: "/nonexistent/ssh" })));
  expect([without.code, without.message]).toEqual(["NETWORK", "cannot run '/nonexistent/ssh'"]);
});

test("a signal breaks the connection off", async () => {
  const sleeper = path.join(tempDir("sleeper"), "ssh");
  fs.writeFileSync(sleeper, "#!/bin/sh\nexec sleep 30\n", { mode: 0o755 });
  const abort = new AbortController();
  const options = { ...connectOptions([], { GIT_SSH: sleeper, GIT_SSH_VARIANT: "ssh" }), signal: abort.signal };
  setTimeout(() => abort.abort(), 50);
  const error = await failureOf(list("ssh://host/x", options));
  expect(error.code).toBe("NETWORK");
});

/** Two fakes of ssh under several names: one knows `-G`, the other fails on it. Each logs its arguments. */
function fakeSsh(name: string, knowsG: boolean): { program: string; log: string } {
  const dir = tempDir("fake ssh");
  const log = path.join(dir, "log");
  const program = path.join(dir, name);
  const probe = `if [ "$1" = -G ]; then exit ${knowsG ? 0 : 1}; fi`;
  const script = `#!/bin/sh\n${probe}\nfor a; do printf '%s\\0' "$a"; done > '${log}'\nenv | grep ^GIT_PROTOCOL >> '${log}'\nexit 1\n`;
  fs.writeFileSync(program, script, { mode: 0o755 });
  return { program, log };
}

const quoted = (text: string): string => `'${text}'`;
const NAMES: [name: string, knowsG: boolean, address: string][] = [];
for (const where of ["host:path", "user@host:it's", "ssh://host:2222/path", "ssh://[::1]:2222/p q"]) {
  for (const name of ["ssh", "ssh.exe", "plink", "tortoiseplink.exe", "wrapper"]) NAMES.push([name, true, where]);
  NAMES.push(["wrapper", false, where]);
}

for (const [name, knowsG, where] of NAMES) {
  test(`git starts ${name} (-G ${knowsG}) for ${where} with the same arguments`, async () => {
    const { program, log } = fakeSsh(name, knowsG);
    const ways: Record<string, string>[] = [
      { GIT_SSH: program },
      { GIT_SSH_COMMAND: `${quoted(program)} -v` },
      { GIT_SSH_COMMAND: `${quoted(program)} -v`, GIT_SSH_VARIANT: "plink" },
      { GIT_SSH: program, GIT_SSH_VARIANT: "simple" },
    ];
    for (const env of ways) {
      fs.rmSync(log, { force: true });
      tryGit(tempDir("cwd"), ["ls-remote", where], { env });
      const gits = fs.existsSync(log) ? fs.readFileSync(log, "utf8") : undefined;
      fs.rmSync(log, { force: true });
      const options = { ...connectOptions([], env), version: 2 as const };
      try {
        const made = await sshCommand(parseUrl(where) as SshUrl, "git-upload-pack", options);
        Bun.spawnSync(made.command, { env: { ...withoutRepository(options.env), ...made.variables } });
      } catch {
        // Refused: nothing is run, as git must not have either.
      }
      expect([env, fs.existsSync(log) ? fs.readFileSync(log, "utf8") : undefined]).toEqual([env, gits]);
    }
  });
}
