/**
 * `make demo`: the quick start as a user would do it, with the compiled executables, on loopback, in a temporary folder; then
 * a real data set. Every line that begins with `$` is run as it stands, and what follows it is what it printed.
 */

import * as fs from "node:fs";
import * as os from "node:os";
import * as path from "node:path";
import { compatBatches } from "./compat-data.ts";
import { freePort, Shell, stopDaemon } from "./shell.ts";

const DIST = path.resolve(import.meta.dir, "..", "dist");
const started = performance.now();
const timings: [title: string, ms: number][] = [];

async function step(title: string, work: () => Promise<void> | void): Promise<void> {
  console.log(`\n== ${title}`);
  const before = performance.now();
  await work();
  timings.push([title, performance.now() - before]);
}

const root = fs.mkdtempSync(path.join(os.tmpdir(), "git-kv-demo-"));
const port = await freePort();
const shell = new Shell(root, DIST);
let failed: unknown;
try {
  await story();
} catch (error) {
  failed = error;
} finally {
  await stopDaemon(path.join(root, "stargate.pid"));
  fs.rmSync(root, { recursive: true, force: true });
}
if (failed !== undefined) {
  console.error(`\nThe demo stopped: ${failed instanceof Error ? failed.message : String(failed)}`);
  process.exit(1);
}
console.log("\n== What it did, and how long it took");
for (const [title, ms] of timings) console.log(`${(ms / 1000).toFixed(2).padStart(7)} s  ${title}`);
console.log(
  `${((performance.now() - started) / 1000).toFixed(2).padStart(7)} s  in all; the temporary folder is gone again`,
);

async function story(): Promise<void> {
  await step("Two people and their keys, made for this demo", () => {
    shell.run("ssh-keygen -q -t ed25519 -N '' -C alice -f alice");
    shell.run("ssh-keygen -q -t ed25519 -N '' -C mallory -f mallory");
  });
  await step(
    "The admin: a repository that stands for GitHub, and a Stargate in front of it that Alice may write to",
    async () => {
      shell.run("git init -q --bare github.git");
      shell.run(
        `git-kv-stargate init --repo kv.git --mirror-remote "$PWD/github.git" --push-url http://127.0.0.1:${port}/kv.git --admin-key alice.pub`,
      );
      shell.run("git-kv-stargate token add --repo kv.git --name demo --scope write > token");
      shell.run(
        `git-kv-stargate serve --repo kv.git --listen 127.0.0.1:${port} 2> stargate.log & echo $! > stargate.pid`,
      );
      await shell.waitFor("stargate.log", /listening on http/);
      shell.show("stargate.log");
    },
  );
  await step("Alice: her settings, a clone, set up, write, read", () => {
    shell.run(`git config --global http.http://127.0.0.1:${port}/.extraHeader "Authorization: Bearer $(cat token)"`);
    shell.run("git config --global gpg.format ssh");
    shell.run("git config --global user.signingKey ~/alice.pub");
    shell.run("git clone -q github.git app");
    shell.cd("app");
    shell.run("git kv remote setup");
    shell.run("git kv set cfg:theme dark");
    shell.run("git kv get cfg:theme && echo");
  });
  await step("Several changes in one transaction", () => {
    fs.writeFileSync(path.join(root, "app", "logo.svg"), "<svg xmlns='http://www.w3.org/2000/svg'/>\n");
    fs.writeFileSync(
      path.join(root, "app", "batch.jsonl"),
      [
        '{"op":"set","key":"cfg:lang","value":"en"}',
        '{"op":"set","key":"cfg:limits","value":{"users":100}}',
        '{"op":"set","key":"cfg:logo","file":"logo.svg","ctype":"image/svg+xml"}',
        '{"op":"del","key":"cfg:theme"}',
        "",
      ].join("\n"),
    );
    shell.run("cat batch.jsonl");
    shell.run("git kv mset --file batch.jsonl");
    shell.run("git kv list --prefix cfg:");
    shell.run("git kv get cfg:theme", 6);
  });
  await step("Each transaction is signed, as stock git sees it", () => {
    shell.run(`echo "alice namespaces=\\"git\\" $(cat ../alice.pub)" > ../allowed-signers`);
    shell.run("git config --global gpg.ssh.allowedSignersFile ~/allowed-signers");
    shell.run("git log --format='%h %G? %GS %s' refs/kv/main");
    shell.run("git verify-commit refs/kv/main");
  });
  await step("Mallory has the token, and a key that the policy does not list", () => {
    shell.run("git -c user.signingKey=~/mallory.pub kv set cfg:lang fr", 3);
    shell.run("git -c kv.sign=false kv set cfg:lang fr", 3);
    shell.run("git kv get cfg:lang && echo");
  });
  await step("A transaction that Alice signed and somebody changed on its way, pushed by stock git", () => {
    const refs = "'+refs/kv/*:refs/kv/*' '+refs/kv-index/*:refs/kv-index/*' '+refs/kv-policy/*:refs/kv-policy/*'";
    const url = `http://127.0.0.1:${port}/kv.git`;
    shell.run("git init -q ../draft");
    shell.cd("../draft");
    shell.run(`git fetch -q ../app ${refs}`);
    shell.run("git kv set cfg:motd 'good morning'");
    shell.run("git cat-file commit refs/kv/main | sed 's/^set cfg:motd/set cfg:MOTD/' > changed");
    shell.run("git hash-object -t commit -w changed > changed-oid");
    shell.run(`git push -q --atomic ${url} $(cat changed-oid):refs/kv/main refs/kv-index/main`, 1);
    shell.run(`git push -q --atomic ${url} refs/kv/main refs/kv-index/main`);
    shell.cd("../app");
    shell.run("git kv fetch --read-from stargate");
    shell.run("git kv get cfg:motd && echo");
  });
  await step("The mirror, read by stock git", () => {
    shell.run("git kv wait --oid $(git rev-parse refs/kv/main) --visible-on=github");
    shell.run("git kv get cfg:limits --read-from=github && echo");
    shell.run("git --git-dir=../github.git log --format='%h %s' refs/kv/main");
    shell.run("git --git-dir=../github.git show refs/kv/main:data/cfg%3Alang && echo");
    shell.run("git kv stargate status");
  });
  await step("A large value: in pieces, sent once, and only what is new of its next version", () => {
    shell.run("head -c 8000000 /dev/urandom > weights.bin");
    shell.run("git kv set cfg:weights --file weights.bin --json");
    shell.run("(head -c 4000000 weights.bin; echo inserted; tail -c 4000000 weights.bin) > weights2.bin");
    shell.run("git kv set cfg:weights --file weights2.bin --json");
    shell.run("git kv get cfg:weights | cmp - weights2.bin && git kv get cfg:weights --range 4000000-4000007 && echo");
    shell.run("git kv list --long --prefix cfg:w");
  });
  const { sets, deletions, prefix } = compatBatches(path.join(root, "app"), 5_000);
  await step(`Real data: ${sets.toLocaleString("en")} keys of browser compatibility data in one transaction`, () => {
    shell.run("git kv mset --file compat.jsonl -m 'browser compatibility data'");
  });
  await step(`${deletions.toLocaleString("en")} of them deleted in the next`, () => {
    shell.run("git kv mset --file deletions.jsonl");
  });
  await step("A prefix of it, and all of it", () => {
    shell.run(`git kv list --prefix ${prefix} --limit 10`);
    shell.run("git kv list --count");
    shell.run("git kv wait --oid $(git rev-parse refs/kv/main)");
    shell.run("git --git-dir=../github.git log --format='%h %s' refs/kv/main");
  });
  await step("The audit: a clone that trusts no server checks every transaction", () => {
    shell.run("git kv verify");
    shell.run(
      "git --git-dir=../github.git fsck --strict && git --git-dir=../kv.git fsck --strict && git fsck --strict",
    );
  });
}
