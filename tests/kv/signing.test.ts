/** Signed transactions, verified by the real git with ssh-keygen and gpg, and natively. */

import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import * as fs from "node:fs";
import * as path from "node:path";
import { type Clock, systemClock } from "../../src/clock.ts";
import { verifyCommitSignature } from "../../src/gitwire/object/commit-signature.ts";
import { type ObjectFormat, SHA1, SHA256 } from "../../src/gitwire/object/oid.ts";
import { readOpenPgpKey } from "../../src/gitwire/object/openpgp.ts";
import { PackBuilder } from "../../src/gitwire/pack/pack-builder.ts";
import { applyPolicy } from "../../src/kv/apply-policy.ts";
import { commit } from "../../src/kv/commit.ts";
import { localAcceptor } from "../../src/kv/local-acceptor.ts";
import { POLICY_REF } from "../../src/kv/namespace.ts";
import { writeTransaction } from "../../src/kv/write.ts";
import { failureOf } from "../support/failure.ts";
import { git, gitBytes, gitInput, tryGit } from "../support/git.ts";
import {
  allowedSigners,
  newGpg,
  newKey,
  SSH_TYPES,
  startAgent,
  type TestAgent,
  type TestKey,
} from "../support/signing.ts";
import { tempDir } from "../support/temp.ts";
import { TEST_FORMAT } from "../support/test-format.ts";
import { complaints, newRepository, workspaceAt } from "../support/workspace.ts";

let agent: TestAgent;
const gpg = newGpg();
beforeAll(async () => {
  agent = await startAgent();
});
afterAll(() => {
  agent.stop();
  gpg.stop();
});

type Config = Record<string, string>;

/** A repository with settings. HOME and the agent are what the test says, nothing of this machine's. */
class Site {
  readonly dir: string;
  readonly home = tempDir("home");
  readonly notes: string[] = [];
  agent: string | undefined;
  env: Record<string, string | undefined> = {};
  /** Where a signature is judged that a program makes now. */
  clock: Clock | undefined;

  constructor(format: ObjectFormat, config: Config) {
    this.dir = newRepository(format);
    for (const [name, value] of Object.entries(config)) git(this.dir, "config", name, value);
  }

  workspace() {
    const env = {
      HOME: this.home,
      SSH_AUTH_SOCK: this.agent,
      SSH_ASKPASS: undefined,
      GNUPGHOME: gpg.home,
      ...this.env,
    };
    const { clock } = this;
    return workspaceAt(this.dir, { env, note: (text) => this.notes.push(text), ...(clock && { clock }) });
  }

  init() {
    return commit(this.workspace(), { create: { epoch: "e1" } }, () => {});
  }

  set(key: string, value: string) {
    return commit(this.workspace(), {}, (use) => {
      use({
        op: "set",
        key,
        value: { kind: "bytes", data: Buffer.from(value) },
        options: { ctype: undefined, expires: undefined, labels: undefined },
        condition: undefined,
      });
    });
  }

  /** Makes `text` the policy in force, unsigned: what is tested here is who signs under it. */
  policy(text: string): void {
    const blob = gitInput(this.dir, text, "hash-object", "-w", "--stdin");
    const tree = gitInput(this.dir, `100644 blob ${blob}\tpolicy.yaml\n`, "mktree");
    git(this.dir, "update-ref", POLICY_REF, git(this.dir, "commit-tree", "-m", "policy", tree));
  }

  /** What the real git says of the newest ledger commit. */
  verifyCommit(keys: readonly TestKey[]): { ok: boolean; said: string } {
    const args = ["-c", `gpg.ssh.allowedSignersFile=${allowedSigners(keys)}`, "verify-commit", "refs/kv/main"];
    const { status, stderr } = tryGit(this.dir, args, { env: { GNUPGHOME: gpg.home } });
    return { ok: status === 0, said: stderr };
  }

  async verdict(openpgpKeys: Parameters<typeof verifyCommitSignature>[2]["openpgpKeys"] = []) {
    const { format } = this.workspace().repo;
    return verifyCommitSignature(format, gitBytes(this.dir, "cat-file", "commit", "refs/kv/main"), {
      now: Date.now(),
      openpgpKeys,
    });
  }
}

const SSH: Config = { "gpg.format": "ssh", "commit.gpgSign": "true" };
const required = (...keys: readonly TestKey[]): string =>
  `version: 1\nnamespaces:\n  main:\n    require_signed_commits: true\n    writers: ${JSON.stringify(keys.map(({ line }) => line))}\n`;
const blobOf = ({ line }: TestKey): string => line.split(" ")[1]!;

for (const format of [SHA1, SHA256]) {
  describe(format.name, () => {
    for (const type of SSH_TYPES) {
      test(`${type}: from its file, and through the agent`, async () => {
        const key = newKey(type);
        const site = new Site(format, { ...SSH, "user.signingKey": key.file });
        await site.init();
        await site.set("a", "1");
        expect(site.verifyCommit([key])).toMatchObject({ ok: true });
        expect(site.verifyCommit([newKey()]).ok).toBe(false);
        expect(await site.verdict()).toMatchObject({ kind: "good", signer: { blob: blobOf(key) } });

        agent.add(key);
        fs.rmSync(key.file);
        site.agent = agent.socket;
        await site.set("a", "2");
        expect(site.verifyCommit([key])).toMatchObject({ ok: true });
        expect(await site.verdict()).toMatchObject({ kind: "good", signer: { blob: blobOf(key) } });
        expect(complaints(site.dir)).toBe("");
      });
    }

    test("gpg, as git runs it", async () => {
      const site = new Site(format, { "kv.sign": "true", "user.signingKey": gpg.fingerprint });
      await site.init();
      expect(site.verifyCommit([])).toMatchObject({ ok: true });
      const key = await readOpenPgpKey(gpg.armored);
      const verdict = { kind: "good", signer: { kind: "openpgp", fingerprint: gpg.fingerprint } };
      expect(await site.verdict([key])).toMatchObject(verdict);
      expect(await site.verdict()).toMatchObject({ kind: "unknown" });
    });

    test("a key that a passphrase protects, through ssh-keygen", async () => {
      const key = newKey("ed25519", { passphrase: "correct horse" });
      const askpass = path.join(tempDir(), "askpass");
      fs.writeFileSync(askpass, "#!/bin/sh\necho 'correct horse'\n", { mode: 0o755 });
      const site = new Site(format, { ...SSH, "user.signingKey": `${key.file}.pub` });
      site.env = { SSH_ASKPASS: askpass, SSH_ASKPASS_REQUIRE: "force" };
      await site.init();
      expect(site.verifyCommit([key])).toMatchObject({ ok: true });
    });
  });
}

describe("which key", () => {
  test("PEM and PKCS8 files", async () => {
    for (const type of ["rsa-2048", "ecdsa-256"]) {
      const key = newKey(type, { pem: true });
      expect(fs.readFileSync(key.file, "utf8")).toMatch(/^-----BEGIN (RSA|EC) PRIVATE KEY-----/);
      const site = new Site(TEST_FORMAT, { ...SSH, "user.signingKey": key.file });
      await site.init();
      expect(site.verifyCommit([key])).toMatchObject({ ok: true });
    }
  });

  test("a literal key, with and without key::, is the agent's", async () => {
    const key = newKey();
    agent.add(key);
    for (const value of [`key::${key.line}`, key.line]) {
      const site = new Site(TEST_FORMAT, { ...SSH, "user.signingKey": value });
      site.agent = agent.socket;
      await site.init();
      expect(site.verifyCommit([key])).toMatchObject({ ok: true });
    }
    const site = new Site(TEST_FORMAT, { ...SSH, "user.signingKey": `key::${key.line}` });
    expect(await failureOf(site.init())).toMatchObject({ code: "CONFIG", hint: expect.stringContaining("ssh-add") });
  });

  test("a path below ~", async () => {
    const site = new Site(TEST_FORMAT, { ...SSH, "user.signingKey": "~/keys/mine" });
    const key = newKey("ed25519", { file: path.join(site.home, "keys/mine") });
    await site.init();
    expect(site.verifyCommit([key])).toMatchObject({ ok: true });
  });

  test("what gpg.ssh.defaultKeyCommand prints", async () => {
    const key = newKey();
    agent.add(key);
    const script = path.join(tempDir(), "my key command");
    fs.writeFileSync(script, `#!/bin/sh\n[ "$1" = 'a b' ] && echo 'key::${key.line}' && echo more\n`, { mode: 0o755 });
    const site = new Site(TEST_FORMAT, { ...SSH, "gpg.ssh.defaultKeyCommand": `"${script}" 'a b'` });
    site.agent = agent.socket;
    await site.init();
    expect(site.verifyCommit([key])).toMatchObject({ ok: true });
    git(site.dir, "config", "gpg.ssh.defaultKeyCommand", `"${script}" other`);
    expect(await failureOf(site.set("a", "1"))).toMatchObject({
      code: "CONFIG",
      message: expect.stringContaining("exited with 1"),
    });
    git(site.dir, "config", "gpg.ssh.defaultKeyCommand", "echo nothing");
    expect(await failureOf(site.set("a", "1"))).toMatchObject({ message: expect.stringContaining("printed no key") });
  });

  test("gpg.ssh.program is called as git calls it", async () => {
    const key = newKey();
    const log = path.join(tempDir(), "log");
    const program = path.join(path.dirname(log), "program");
    fs.writeFileSync(program, `#!/bin/sh\necho "$*" >>'${log}'\nexec ssh-keygen "$@"\n`, { mode: 0o755 });
    const site = new Site(TEST_FORMAT, { ...SSH, "user.signingKey": key.file, "gpg.ssh.program": program });
    await site.init();
    expect(site.verifyCommit([key])).toMatchObject({ ok: true });
    expect(fs.readFileSync(log, "utf8")).toMatch(new RegExp(`^-Y sign -n git -f ${key.file} /\\S+\n`));
    fs.writeFileSync(program, "#!/bin/sh\necho 'no, thanks' >&2\nexit 3\n");
    expect(await failureOf(site.set("a", "1"))).toMatchObject({
      code: "IO",
      message: `'${program}' did not sign (it exited with 3): no, thanks`,
    });
  });

  test("gpg.ssh.program with a literal key finds the private half in the agent", async () => {
    const key = newKey();
    agent.add(key);
    fs.rmSync(key.file);
    const config = { ...SSH, "user.signingKey": `key::${key.line}`, "gpg.ssh.program": "ssh-keygen" };
    const site = new Site(SHA256, config);
    site.agent = agent.socket;
    await site.init();
    expect(site.verifyCommit([key])).toMatchObject({ ok: true });
    site.agent = undefined;
    expect(await failureOf(site.set("a", "1"))).toMatchObject({
      code: "IO",
      message: expect.stringContaining("'ssh-keygen' did not sign"),
    });
  });

  test("gpg.program, and the committer's own key where none is named", async () => {
    const log = path.join(tempDir(), "log");
    const program = path.join(path.dirname(log), "program");
    fs.writeFileSync(program, `#!/bin/sh\necho "$*" >>'${log}'\nexec gpg "$@"\n`, { mode: 0o755 });
    const site = new Site(TEST_FORMAT, { "commit.gpgSign": "true", "gpg.program": program });
    await site.init();
    expect(site.verifyCommit([])).toMatchObject({ ok: true });
    expect(fs.readFileSync(log, "utf8").split("\n")[0]).toBe(
      "--status-fd=2 -bsau Test Committer <committer@example.com>",
    );
    fs.writeFileSync(program, "#!/bin/sh\necho '[GNUPG:] SIG_CREATED D' >&2\necho hello\n", { mode: 0o755 });
    const failure = await failureOf(site.set("a", "1"));
    expect(failure.message).toContain("is no armored OpenPGP signature");
    fs.writeFileSync(program, '#!/bin/sh\nexec gpg "$@"\n', { mode: 0o755 });
    git(site.dir, "config", "user.signingKey", "nobody@example.org");
    expect(await failureOf(site.set("a", "1"))).toMatchObject({
      code: "IO",
      message: expect.stringContaining("did not sign"),
    });
    git(site.dir, "config", "gpg.openpgp.program", "/nonexistent/gpg");
    expect(await failureOf(site.set("a", "1"))).toMatchObject({
      code: "IO",
      message: expect.stringContaining("cannot run"),
    });
  });
});

describe("nobody named a key", () => {
  test("the agent's key that the policy lists is taken, and said", async () => {
    const listed = newKey();
    agent.add(newKey());
    agent.add(listed);
    const site = new Site(TEST_FORMAT, {});
    site.agent = agent.socket;
    site.policy(required(listed));
    await site.init();
    expect(site.verifyCommit([listed])).toMatchObject({ ok: true });
    expect(site.notes.join("\n")).toMatch(
      /^signing with ssh-ed25519 SHA256:\S+ \(SSH agent\): .* lists it as a writer of 'main'$/,
    );
  });

  test("else the default file that it lists", async () => {
    const site = new Site(TEST_FORMAT, {});
    newKey("rsa-2048", { file: path.join(site.home, ".ssh/id_rsa") });
    const listed = newKey("ed25519", { file: path.join(site.home, ".ssh/id_ed25519") });
    site.policy(required(listed));
    await site.init();
    expect(site.verifyCommit([listed])).toMatchObject({ ok: true });
    expect(site.notes.join("\n")).toContain(listed.file);
  });

  test("else the OpenPGP key that it lists and gpg holds", async () => {
    const stranger = newGpg("Stranger <stranger@example.org>");
    stranger.stop();
    const writers = JSON.stringify([stranger, gpg].map(({ armored }) => ({ pgp: armored })));
    const site = new Site(TEST_FORMAT, {});
    site.policy(required(newKey()).replace(/writers: .*/, `writers: ${writers}`));
    await site.init();
    expect(await site.verdict([await readOpenPgpKey(gpg.armored)])).toMatchObject({
      kind: "good",
      signer: { fingerprint: gpg.fingerprint },
    });
    expect(site.notes.join("\n")).toMatch(/^signing with OpenPGP key [0-9A-F]{40} \(gpg\): .* a writer of 'main'$/);
    git(site.dir, "config", "gpg.format", "ssh");
    expect(await failureOf(site.set("a", "1"))).toMatchObject({ code: "CONFIG" });
  });

  test("so it is with an admin, where the policy is changed", async () => {
    const site = new Site(TEST_FORMAT, {});
    site.clock = systemClock;
    const admins = JSON.stringify([{ pgp: gpg.armored }]);
    site.policy(`version: 1\nstargate: { admins: ${admins} }\n`);
    await site.init();
    const next = `version: 1\nstargate: { admins: ${admins} }\nnamespaces: { main: {} }\n`;
    const applied = await applyPolicy(site.workspace(), { text: next, name: "policy.yaml", message: undefined });
    expect(applied.kind).toBe("applied");
    expect(site.notes.join("\n")).toContain("the policy lists it as an admin of the policy");
    expect(tryGit(site.dir, ["verify-commit", POLICY_REF], { env: { GNUPGHOME: gpg.home } }).status).toBe(0);
  });

  test("a writer whose time is over is passed over", async () => {
    const site = new Site(TEST_FORMAT, {});
    const over = newKey("rsa-2048", { file: path.join(site.home, ".ssh/id_rsa") });
    const listed = newKey("ed25519", { file: path.join(site.home, ".ssh/id_ed25519") });
    const terms = JSON.stringify({ key: over.line, until: "2026-01-01" });
    site.policy(required(listed).replace("writers: [", `writers: [${terms}, `));
    await site.init();
    expect(site.verifyCommit([listed])).toMatchObject({ ok: true });
  });

  test("none that it lists: the message says where was looked, and nothing is written", async () => {
    const site = new Site(TEST_FORMAT, {});
    const other = newKey("ed25519", { file: path.join(site.home, ".ssh/id_ed25519") });
    site.policy(required(newKey()));
    const failure = await failureOf(site.init());
    expect(failure).toMatchObject({ code: "CONFIG", hint: expect.stringContaining("user.signingKey") });
    expect(failure.message).toContain("none that was found is a writer of 'main' (SSH_AUTH_SOCK is not set; ");
    expect(failure.message).toContain(other.file);
    expect(git(site.dir, "for-each-ref", "refs/kv/")).toBe("");
  });
});

describe("when", () => {
  test("not where neither the policy nor the user asks for it", async () => {
    const site = new Site(TEST_FORMAT, { "gpg.format": "ssh", "user.signingKey": newKey().file });
    await site.init();
    expect(await site.verdict()).toEqual({ kind: "unsigned" });
    site.policy(
      "version: 1\nnamespaces: { main: { require_signed_commits: false }, other: { require_signed_commits: true } }\n",
    );
    await site.set("a", "1");
    expect(await site.verdict()).toEqual({ kind: "unsigned" });
  });

  test("kv.sign decides over commit.gpgSign", async () => {
    const site = new Site(TEST_FORMAT, { ...SSH, "user.signingKey": newKey().file, "kv.sign": "false" });
    await site.init();
    expect(await site.verdict()).toEqual({ kind: "unsigned" });
  });

  test("where the policy requires it, for this namespace or for all", async () => {
    const key = newKey();
    const spelled = required(key).replace("require_signed_commits", '"require_signed\\u005fcommits"');
    expect(spelled).not.toContain("require_signed_commits");
    for (const text of [required(key), required(key).replace("main", '"*"'), spelled]) {
      const site = new Site(TEST_FORMAT, {
        "gpg.format": "ssh",
        "user.signingKey": key.file,
        "commit.gpgSign": "false",
      });
      site.policy(text);
      await site.init();
      expect(await site.verdict()).toMatchObject({ kind: "good" });
    }
  });

  test("required, and kv.sign is false: refused before anything is sent", async () => {
    const site = new Site(TEST_FORMAT, { "kv.sign": "false" });
    site.policy(required(newKey()));
    expect(await failureOf(site.init())).toMatchObject({
      code: "UNSIGNED",
      message: "the policy requires signed transactions in 'main', and kv.sign is false",
    });
    expect(git(site.dir, "for-each-ref", "refs/kv/")).toBe("");
  });

  test("a transaction that is planned again is signed again", async () => {
    const key = newKey();
    const site = new Site(TEST_FORMAT, { ...SSH, "user.signingKey": key.file });
    await site.init();
    const workspace = site.workspace();
    const local = localAcceptor(workspace.repo);
    const tried: string[] = [];
    const builder = new PackBuilder(workspace.repo.format);
    const outcome = await writeTransaction(
      workspace,
      {
        decidesHere: true,
        accept: async (proposal) => {
          tried.push(proposal.plan.ledger);
          // Another writer is faster than the first try.
          if (tried.length === 1) await site.set("b", "other");
          await local.accept(proposal);
        },
        refresh: async () => undefined,
        chunkTip: async () => undefined,
      },
      {
        builder,
        operations: [
          {
            kind: "set",
            key: "a",
            value: {
              type: "inline",
              oid: builder.write("blob", Buffer.from("1")),
              size: 1,
              etag: `blake3:${"0".repeat(64)}`,
              ctype: "text/plain",
            },
            expires: undefined,
            labels: undefined,
          },
        ],
        message: undefined,
        expectTree: undefined,
        namespace: "required",
      },
    );
    expect(tried).toHaveLength(2);
    expect(outcome).toMatchObject({ kind: "committed", ledger: tried[1] });
    expect(site.verifyCommit([key])).toMatchObject({ ok: true });
  });
});

describe("refused", () => {
  const fails = async (config: Config, problem: string | RegExp, code = "CONFIG", prepare = (_: Site): void => {}) => {
    const site = new Site(TEST_FORMAT, { "commit.gpgSign": "true", ...config });
    prepare(site);
    const failure = await failureOf(site.init());
    expect(failure.message).toMatch(problem);
    expect(failure.code).toBe(code as typeof failure.code);
    expect(git(site.dir, "for-each-ref")).toBe("");
  };

  test("formats that no Stargate verifies, or that git does not know", async () => {
    await fails({ "gpg.format": "x509" }, "no Stargate can verify", "UNSUPPORTED");
    await fails({ "gpg.format": "pgp" }, "gpg.format is 'pgp'");
  });

  test("a key that is not there, is no key, or is too weak", async () => {
    await fails({ ...SSH, "user.signingKey": "/nonexistent/key" }, "neither it nor /nonexistent/key.pub is there");
    await fails({ ...SSH, "user.signingKey": "key::ssh-ed25519 AAAA" }, "user.signingKey: ");
    await fails({ "user.signingKey": newKey().line }, "user.signingKey is an SSH key, and gpg.format is not ssh");
    await fails({ ...SSH, "user.signingKey": newKey("rsa-1024").file }, "an RSA key of 1024 bits; 2048 are the least");
    const text = path.join(tempDir(), "key");
    fs.writeFileSync(text, "hello\n");
    await fails({ ...SSH, "user.signingKey": text }, "is not an SSH public key");
  });

  test("a private key that others may read", async () => {
    const { file } = newKey();
    fs.chmodSync(file, 0o644);
    await fails({ ...SSH, "user.signingKey": file }, `others may read the private key ${file}`);
  });

  test("an agent that does not sign", async () => {
    const key = newKey();
    // It asks before each use, and there is nobody to ask.
    agent.add(key, "-c");
    await fails({ ...SSH, "user.signingKey": `${key.file}.pub` }, "the SSH agent refused to sign", "IO", (site) => {
      site.agent = agent.socket;
    });
  });

  test("an agent that is none is passed over; one that breaks off is not", async () => {
    const key = newKey();
    const site = new Site(TEST_FORMAT, { ...SSH, "user.signingKey": key.file });
    site.agent = "/nonexistent/socket";
    await site.init();
    expect(site.verifyCommit([key])).toMatchObject({ ok: true });
  });

  test("a program whose signature is another key's, or none", async () => {
    const [key, other] = [newKey(), newKey()];
    const program = path.join(tempDir(), "program");
    const write = (body: string): void => fs.writeFileSync(program, `#!/bin/sh\n${body}\n`, { mode: 0o755 });
    const config = { ...SSH, "user.signingKey": key.file, "gpg.ssh.program": program };
    write(`for last; do :; done; exec ssh-keygen -Y sign -n git -f '${other.file}' "$last"`);
    await fails(config, "a signature by another key", "IO");
    write(`for last; do :; done; exec ssh-keygen -Y sign -n file -f '${key.file}' "$last"`);
    await fails(config, /is no good signature: .*namespace is not 'git'/, "IO");
    write('for last; do :; done; echo x >"$last.sig"');
    await fails(config, "is no good signature", "IO");
  });
});
