/** The runbook: each of its commands runs as it is printed, against a Stargate that is up, and each log line it looks for can be written. */

import { afterAll, beforeAll, expect, test } from "bun:test";
import * as fs from "node:fs";
import * as path from "node:path";
import { executable } from "../support/executable.ts";
import { gitAsync } from "../support/git-async.ts";
import { TestClient, TestStargate } from "../support/stargate.ts";
import { tempDir } from "../support/temp.ts";

const ROOT = path.join(import.meta.dir, "..", "..");
const RUNBOOK = fs.readFileSync(path.join(ROOT, "docs", "runbook.md"), "utf8");
/** What is of a machine and not of ours: taken for run. */
const OF_THE_MACHINE = ["systemctl", "journalctl", "dmesg", "iostat", "ss", "runuser"];

interface Line {
  readonly section: string;
  readonly command: string;
  /** Between the stop of the service and its start. */
  readonly isStopped: boolean;
}

function lines(): Line[] {
  return RUNBOOK.split(/^#+ /m).flatMap((section) => {
    let isStopped = false;
    return [...section.matchAll(/^```sh\n(.*?)\n```$/gms)].flatMap(([, block]) =>
      block!.split("\n").map((command) => {
        if (command.startsWith("systemctl start")) isStopped = false;
        const line = { section: section.split("\n", 1)[0]!, command, isStopped };
        if (command.startsWith("systemctl stop")) isStopped = true;
        return line;
      }),
    );
  });
}

let stargate: TestStargate;
let bin: string;
let clone: string;

beforeAll(async () => {
  const mirror = tempDir("mirror");
  await gitAsync(mirror, "init", "-q", "--bare");
  stargate = await TestStargate.start({ mirror, adminListen: "127.0.0.1:0" });
  const client = new TestClient(stargate.dir, stargate.loginUrl(stargate.token("admin", "NAME")));
  await client.set({ a: "1" });
  await stargate.logged((line) => line.component === "mirror" && line.result === "pushed");
  bin = tempDir("bin");
  for (const name of OF_THE_MACHINE) {
    // One runs what stands behind `--`, one is asked for the daemon's process.
    const texts: Readonly<Record<string, string>> = {
      runuser: 'shift 3; exec "$@"',
      systemctl: `test "$1" != show || echo ${process.pid}`,
      ss: `echo 'ESTAB 0 0 127.0.0.1:8418 127.0.0.1:50000 users:(("git-kv-stargate",pid=1,fd=9))'`,
    };
    fs.writeFileSync(path.join(bin, name), `#!/bin/sh\n${texts[name] ?? ""}\n`, { mode: 0o755 });
  }
  fs.symlinkSync(executable("git-kv-stargate"), path.join(bin, "git-kv-stargate"));
  fs.symlinkSync(executable("git-kv"), path.join(bin, "git-kv"));
  clone = path.join(tempDir("clone"), "c");
  await gitAsync("/", "clone", "-q", stargate.dir, clone);
});
afterAll(() => stargate.stop());

async function run(command: string): Promise<{ status: number; text: string }> {
  const here = command
    .replaceAll("/srv/git-kv/kv.git", stargate.dir)
    .replaceAll("/srv/git-kv", path.dirname(stargate.dir))
    .replaceAll("http://127.0.0.1:9418", stargate.opsUrl)
    .replaceAll("/backup/kv", path.join(bin, "backup"));
  const env = { ...process.env, PATH: `${bin}:${process.env.PATH}` };
  const child = Bun.spawn(["bash", "-o", "pipefail", "-c", here], { cwd: clone, env, stdout: "pipe", stderr: "pipe" });
  const [out, err] = await Promise.all([new Response(child.stdout).text(), new Response(child.stderr).text()]);
  return { status: await child.exited, text: out + err };
}

test("each command runs as it is printed", async () => {
  const all = lines();
  expect(all.length).toBeGreaterThan(50);
  const ran = new Set<string>();
  for (const { section, command, isStopped } of all) {
    // A stopped service is another scene (catch-up.test.ts), as is one that was lost (backup.test.ts); an admin signs (policy.test.ts).
    if (isStopped || section === "StargateStorage" || command.includes("as an admin") || ran.has(command)) continue;
    ran.add(command);
    const { status, text } = await run(command);
    // A search of the log that finds nothing is none that fails.
    const isSearch = command.startsWith("journalctl") && command.includes("grep");
    expect({ section, command, status: isSearch ? 0 : status, text }).toEqual({ section, command, status: 0, text });
    expect(text).not.toMatch(/^usage:|unknown (command|flag)/m);
  }
  expect(ran.size).toBeGreaterThan(30);
  expect((await gitAsync(stargate.dir, "for-each-ref", "refs/diverged")).trim()).toBe("");
}, 120_000);

test("each part of the log that it looks for is written somewhere", () => {
  const sources = fs
    .readdirSync(path.join(ROOT, "src", "stargate"), { recursive: true, encoding: "utf8" })
    .filter((name) => name.endsWith(".ts"))
    .map((name) => fs.readFileSync(path.join(ROOT, "src", "stargate", name), "utf8"))
    .join("\n");
  const components = new Set([...RUNBOOK.matchAll(/"component":"([a-z]+)"/g)].map(([, name]) => name!));
  expect(components.size).toBeGreaterThan(3);
  for (const name of components) expect(sources).toMatch(new RegExp(`log\\([^;]*?"${name}",`));
});
