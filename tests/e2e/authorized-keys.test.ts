/** Who gets in over SSH: the keys of the policy, through a real sshd with AuthorizedKeysCommand, and what they may do there. */

import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { executable } from "../support/executable.ts";
import { fsck } from "../support/git.ts";
import { tryGitAsync } from "../support/git-async.ts";
import { newKey, run, type TestKey as SshKey } from "../support/signing.ts";
import { type Sshd, startSshd } from "../support/sshd.ts";
import { policyPush, TestClient, TestStargate, verdict } from "../support/stargate.ts";
import { TestKey } from "../support/test-key.ts";

const PROGRAM = executable("git-kv-stargate");

describe("through sshd", () => {
  const signer = new TestKey("alice");
  const [writer, reader, admin, stranger] = [newKey(), newKey("ecdsa-256"), newKey(), newKey()];
  let stargate: TestStargate;
  let sshd: Sshd;
  let address: string;

  const policyOf = (writers: readonly SshKey[]): string =>
    JSON.stringify({
      version: 1,
      stargate: { admins: [signer.line, admin.line] },
      namespaces: {
        main: { writers: writers.map(({ line }) => ({ key: line, prefixes: ["cfg:"] })), readers: [reader.line] },
        closed: { writers: [signer.line] },
        open: {},
      },
    });

  beforeAll(async () => {
    stargate = await TestStargate.start();
    const client = new TestClient(stargate.dir, stargate.loginUrl(stargate.token("admin")));
    expect(verdict(await client.push(policyPush(client, policyOf([writer]))))).toBe("ok");
    // sshd wants the program to be root's and in folders that only root writes to: env is.
    const words = ["/usr/bin/env", PROGRAM, "authorized-keys", "--repo", `org/kv.git=${stargate.dir}`];
    sshd = await startSshd({ authorizedKeysCommand: `${words.join(" ")} %u %t %k` });
    address = `ssh://${sshd.user}@127.0.0.1:${sshd.port}/org/kv.git`;
  });

  afterAll(async () => {
    delete process.env.GIT_SSH_COMMAND;
    sshd.stop();
    await stargate.stop();
  });

  const login = (key: SshKey): string => sshd.command.replace(`-i ${sshd.dir}/user_key`, `-i ${key.file}`);
  const clientOf = (key: SshKey): TestClient => {
    process.env.GIT_SSH_COMMAND = login(key);
    return new TestClient(stargate.dir, address);
  };
  const lists = async (key: SshKey): Promise<number | null> => {
    const env = { GIT_SSH_COMMAND: login(key) };
    return (await tryGitAsync("/", ["ls-remote", address], { env })).status;
  };
  const next = (client: TestClient, text: string) =>
    policyPush(client, text, undefined, (one) => signer.signCommit(one));

  test("a writer writes its keys in its namespaces, signed or not, and changes no policy", async () => {
    const client = clientOf(writer);
    await client.set({ "cfg:a": "1" });
    expect(stargate.log.at(-1)).toMatchObject({ who: "ed25519_test", result: "accepted" });
    expect(stargate.log.at(-1)?.signer).toBeUndefined();
    expect(verdict(await client.push(client.plan({ "user:b": "1" })))).toBe("PREFIX_NOT_ALLOWED");
    expect(verdict(await client.push(client.plan({ "cfg:c": "1" }, "closed")))).toBe("SIGNER_NOT_ALLOWED");
    await client.set({ any: "1" }, "open");
    expect(verdict(await client.push(next(client, policyOf([]))))).toBe("FORBIDDEN");
  }, 120_000);

  test("a reader reads, a stranger does not even that", async () => {
    expect(await lists(reader)).toBe(0);
    const client = clientOf(reader);
    await expect(client.push(client.plan({ "cfg:r": "1" }))).rejects.toThrow("may read, write is needed");
    expect(await lists(stranger)).not.toBe(0);
    expect(sshd.log()).toContain("authorized-keys --repo org/kv.git=");
  }, 120_000);

  test("a key that an admin takes out is out at once, also where sshd still lets it in", async () => {
    const client = clientOf(admin);
    expect(verdict(await client.push(next(client, policyOf([]))))).toBe("ok");
    expect(await lists(writer)).not.toBe(0);
    // Not in one step: the daemon that is asked is in this process.
    const shell = async (key: SshKey): Promise<[status: number, stdout: string, stderr: string]> => {
      const words = ["shell", "--repo", `kv.git=${stargate.dir}`, "--key", fingerprint(key), "--user", "w"];
      const env = { ...process.env, SSH_ORIGINAL_COMMAND: "git-kv-stargate status 'kv.git'" };
      const child = Bun.spawn([PROGRAM, ...words], { env, stdin: "ignore", stdout: "pipe", stderr: "pipe" });
      const [stdout, stderr] = await Promise.all([
        new Response(child.stdout).text(),
        new Response(child.stderr).text(),
      ]);
      return [await child.exited, stdout, stderr];
    };
    const [status, , said] = await shell(writer);
    expect(status).toBe(3);
    expect(said).toContain("does not list the key");
    expect(JSON.parse((await shell(reader))[1]).role).toBe("leader");
  }, 120_000);

  test("nothing is printed for another account", () => {
    const ask = (...args: string[]): string => run(PROGRAM, ["authorized-keys", "--repo", stargate.dir, ...args]);
    expect(ask(run("id", ["-un"]).trim())).toContain(",restrict ");
    expect(ask("somebody-else")).toBe("");
    expect(ask("--account", "somebody-else", "somebody-else")).toContain(",restrict ");
    expect(fsck(stargate.dir)).toBe("");
  });
});

function fingerprint(key: SshKey): string {
  return run("ssh-keygen", ["-l", "-f", `${key.file}.pub`]).split(" ")[1]!;
}
