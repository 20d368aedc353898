/** `git kv policy` with the compiled programs: from `init --admin-key` to a writer who is taken out. */

import { expect, test } from "bun:test";
import * as fs from "node:fs";
import * as path from "node:path";
import { executable, type Run, runProgram } from "../support/executable.ts";
import { git, tryGit } from "../support/git.ts";
import { ENV, kvOk, Scene, Serving, stargateOk } from "../support/scene.ts";
import { allowedSigners, newKey, type TestKey } from "../support/signing.ts";
import { tempDir } from "../support/temp.ts";
import { TEST_FORMAT } from "../support/test-format.ts";

const SLOW = 60_000;

/** Runs git-kv as somebody who signs with `key`. */
function as(key: TestKey, dir: string, ...args: string[]): Run {
  const more = { "gpg.format": "ssh", "user.signingKey": key.file };
  const config = Object.entries(more).flatMap(([name, value], at) => [
    [`GIT_CONFIG_KEY_${at}`, name],
    [`GIT_CONFIG_VALUE_${at}`, value],
  ]);
  const env = { ...ENV, SSH_AUTH_SOCK: "", GIT_CONFIG_COUNT: "2", ...Object.fromEntries(config) };
  return runProgram(executable("git-kv"), args, { cwd: dir, env });
}

test(
  "an admin's policy takes force for all, and only an admin's",
  async () => {
    const [admin, bot] = [newKey(), newKey("ecdsa-256")];
    const scene = await Scene.start(TEST_FORMAT.name, { adminKey: `${admin.file}.pub` });
    const token = stargateOk(scene.root, "token", "add", "--repo", "kv.git", "--name", "root", "--scope", "admin");
    const dir = scene.clone("app");
    git(dir, "config", `http.${scene.serving.url}/.extraHeader`, `Authorization: Bearer ${token}`);
    const file = path.join(dir, ".kv/policy.yaml");
    const first = JSON.parse(kvOk(dir, "policy", "show", "--json"));
    expect(first).toMatchObject({ drift: "same", commits: 1, policy: { version: 1 } });
    expect(kvOk(dir, "policy", "show")).toBe(fs.readFileSync(file, "utf8").trimEnd());
    expect(as(bot, dir, "set", "cfg:a", "1").status).toBe(3);

    // The bot may write below cfg: from now on.
    const text = fs.readFileSync(file, "utf8");
    const entry = JSON.stringify({ key: bot.line, prefixes: ["cfg:"] });
    fs.writeFileSync(
      file,
      text.replace(/ +writers:\n/, (line) => `${line}      - ${entry}\n`),
    );
    expect(kvOk(dir, "policy", "check")).toBe("");
    fs.writeFileSync(path.join(dir, "batch"), '{"op":"set","key":"cfg:a","value":"1"}\n{"op":"del","key":"user:b"}\n');
    const tried = as(bot, dir, "policy", "check", "--as", `${bot.file}.pub`, "--file", "batch");
    expect(tried.status).toBe(3);
    expect(tried.stdout).toMatch(
      /^allow\tset\tcfg:a\tnamespaces.main.writers\[0\] \(.*\), prefix "cfg:"\nrefuse\tdel\tuser:b\t.*\tPREFIX_NOT_ALLOWED: /,
    );
    const refused = as(bot, dir, "policy", "apply");
    expect(refused.status).toBe(3);
    expect(refused.stderr).toContain("no admin of the policy before it");
    const applied = as(admin, dir, "policy", "apply");
    expect(applied.status).toBe(0);
    expect(applied.stdout).toMatch(/^[0-9a-f]{40,64}\n$/);
    const verified = ["-c", `gpg.ssh.allowedSignersFile=${allowedSigners([admin])}`, "verify-commit"];
    expect(tryGit(dir, [...verified, applied.stdout.trim()]).status).toBe(0);
    expect(as(admin, dir, "policy", "apply").stderr).toContain("in force already");
    expect(kvOk(dir, "stargate", "status")).toContain("differs from the file on the default branch");

    expect(as(bot, dir, "set", "cfg:a", "1").status).toBe(0);
    const outside = as(bot, dir, "set", "user:b", "1");
    expect(outside.status).toBe(3);
    expect(outside.stderr).toContain("may not write");

    // It is mirrored, and another clone reads it without asking anybody.
    kvOk(dir, "wait", "--oid", git(dir, "rev-parse", "refs/kv/main"), "--visible-on=mirror");
    const other = scene.clone("other");
    // Both keep the root of trust from the day they were set up; another one is not taken quietly.
    for (const clone of [dir, other]) expect(git(clone, "config", "kv.policyRoot")).toBe(first.oid);
    git(other, "config", "kv.policyRoot", applied.stdout.trim());
    const again = as(bot, other, "remote", "setup");
    expect(again.stderr).toContain(`THE ROOT OF TRUST HAS CHANGED: the first policy is ${first.oid}`);
    git(other, "config", "kv.policyRoot", first.oid);
    expect(git(scene.github, "rev-parse", "refs/kv-policy/current")).toBe(applied.stdout.trim());
    expect(await scene.serving.stop()).toBe(0);
    expect(JSON.parse(kvOk(other, "policy", "show", "--json"))).toMatchObject({
      oid: applied.stdout.trim(),
      root: first.oid,
      commits: 2,
      drift: "differs",
    });
    expect(kvOk(other, "verify")).toContain("no findings");
  },
  SLOW,
);

test(
  "without a Stargate it takes force here, and mistakes are named with their lines",
  () => {
    const dir = tempDir("local");
    const [admin, other] = [newKey(), newKey()];
    kvOk(dir, "init");
    fs.writeFileSync(path.join(dir, "bad.yaml"), "version: 1\nnamespaces:\n  main: { verfy: replay, writers: [x] }\n");
    const bad = as(admin, dir, "policy", "check", "bad.yaml");
    expect(bad.status).toBe(4);
    expect(bad.stdout).toContain("bad.yaml:3: namespaces.main.verfy: unknown key; did you mean 'verify'?\n");
    expect(bad.stdout).toContain("bad.yaml:3: namespaces.main.writers.0: must be an SSH public key");
    expect(as(admin, dir, "policy", "apply", "bad.yaml").status).not.toBe(0);
    const text = (prefix: string): string =>
      `version: 1\nstargate: { admins: [${JSON.stringify(admin.line)}] }\nnamespaces: { main: { allowed_prefixes: ["${prefix}"] } }\n`;
    fs.writeFileSync(path.join(dir, "one.yaml"), text("a"));
    fs.writeFileSync(path.join(dir, "two.yaml"), text("b"));
    expect(as(admin, dir, "policy", "apply", "one.yaml").status).toBe(0);
    expect(as(other, dir, "policy", "apply", "two.yaml").status).toBe(3);
    expect(as(admin, dir, "policy", "apply", "two.yaml", "-m", "Use b").status).toBe(0);
    expect(git(dir, "log", "--format=%s", "refs/kv-policy/current")).toBe("Use b\nApply a new policy");
    expect(JSON.parse(kvOk(dir, "policy", "schema")).title).toBe("git-kv policy");
  },
  SLOW,
);

test(
  "no batch or import is refused by a policy that was changed meanwhile",
  async () => {
    const admin = newKey();
    const scene = await Scene.start(TEST_FORMAT.name, { adminKey: `${admin.file}.pub` });
    const token = stargateOk(scene.root, "token", "add", "--repo", "kv.git", "--name", "root", "--scope", "admin");
    const [dir, other] = [scene.clone("app"), scene.clone("other")];
    git(dir, "config", `http.${scene.serving.url}/.extraHeader`, `Authorization: Bearer ${token}`);
    const file = path.join(dir, ".kv/policy.yaml");
    const text = fs.readFileSync(file, "utf8");
    const allow = (prefix: string): void => {
      fs.writeFileSync(file, text.replaceAll(/\n( +)writers:\n/g, `\n$1allowed_prefixes: ["${prefix}"]$&`));
      expect(as(admin, dir, "policy", "apply").status).toBe(0);
    };
    const line = (key: string): void =>
      fs.writeFileSync(path.join(other, "batch"), JSON.stringify({ op: "set", key, value: key }));
    allow("a:");
    line("a:1");
    expect(as(admin, other, "mset", "--file", "batch").status).toBe(0);
    allow("b:");
    line("b:1");
    expect(as(admin, other, "mset", "--file", "batch").status).toBe(0);
    allow("c:");
    fs.writeFileSync(path.join(other, "c.json"), '{"c:1":"1"}');
    expect(as(admin, other, "import", "c.json").status).toBe(0);
    const refused = as(admin, other, "mset", "--file", "batch");
    expect([refused.status, refused.stderr]).toEqual([
      4,
      expect.stringMatching(
        /allowed_prefixes \("c:"\)\nhint: nothing was written; 'git kv policy show' prints the policy in force\n$/,
      ),
    ]);
    await scene.serving.stop();
  },
  SLOW,
);

test(
  "all lines of a batch that the policy refuses are named before anything is sent",
  async () => {
    const policy = (url: string): string =>
      `version: 1\nstargate: { push_url: "${url}" }\nnamespaces: { "*": { max_value_total: 1KiB, forbidden: [{ lfs: true }], allowed_prefixes: ["k:"] } }\n`;
    const scene = await Scene.start(TEST_FORMAT.name, { policy });
    const dir = scene.clone("app");
    kvOk(dir, "set", "k:0", "before");
    const pointer = `version https://git-lfs.github.com/spec/v1\noid sha256:${"0".repeat(64)}\nsize 1\n`;
    fs.writeFileSync(path.join(dir, "pointer"), pointer);
    fs.writeFileSync(path.join(dir, "large"), Buffer.alloc(2_000));
    const lines = [
      { op: "set", key: "k:1", value: "v" },
      { op: "set", key: "other", value: "v" },
      { op: "check", key: "elsewhere", if: { absent: true } },
      { op: "set", key: "k:2", value: "x".repeat(1_025) },
      { op: "set", key: "k:3", file: "large" },
      { op: "set", key: "k:4", value: pointer },
      { op: "set", key: "k:5", file: "pointer" },
      { op: "del", key: "another" },
      { op: "set", key: "k:1", value: "twice" },
    ];
    const write = (some: object[]): void =>
      fs.writeFileSync(path.join(dir, "batch"), some.map((line) => JSON.stringify(line)).join("\n"));
    write(lines);
    await scene.serving.stop();
    const refused = runProgram(executable("git-kv"), ["mset", "--file", "batch"], { cwd: dir, env: ENV });
    expect([refused.status, refused.stderr.split("\n")]).toEqual([
      4,
      [
        "error: the batch has 7 bad lines",
        `line 2: "other" begins with none of the namespace's allowed_prefixes ("k:")`,
        'line 4: the value of "k:2" has 1025 bytes, at most 1024 are allowed (max_value_total)',
        'line 5: the value of "k:3" has 2000 bytes, at most 1024 are allowed (max_value_total)',
        'line 6: the value of "k:4" is a Git LFS pointer, which the policy forbids',
        'line 7: the value of "k:5" is a Git LFS pointer, which the policy forbids',
        `line 8: "another" begins with none of the namespace's allowed_prefixes ("k:")`,
        "line 9: the key is on line 1 already",
        "hint: nothing was written; the Stargate does not answer: 'git kv fetch' may bring a newer policy",
        "",
      ],
    ]);
    // A folder with a pointer is one that import refuses as well.
    fs.mkdirSync(path.join(dir, "k:folder"));
    fs.renameSync(path.join(dir, "pointer"), path.join(dir, "k:folder/pointer"));
    const imported = runProgram(executable("git-kv"), ["import", "k:folder", "--prefix", "k:"], { cwd: dir, env: ENV });
    expect([imported.status, imported.stderr]).toEqual([
      4,
      expect.stringContaining('pointer: the value of "k:pointer" is a Git LFS pointer, which the policy forbids'),
    ]);
    // What is left is sent, and so is what no policy is asked about.
    const serving = await Serving.start(scene.repo, Number(new URL(scene.serving.url).port));
    write([lines[0]!, lines[2]!]);
    expect(kvOk(dir, "mset", "--file", "batch")).toMatch(/^[0-9a-f]{40,64}$/);
    await serving.stop();
  },
  SLOW,
);
