/** Alert rules, dashboard, runbook and the example for keepalived, against the tools they are for and a running Stargate. */

import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import * as fs from "node:fs";
import * as os from "node:os";
import * as path from "node:path";
import * as v from "valibot";
import { readYaml } from "../../src/yaml-file.ts";
import { runProgram } from "../support/executable.ts";
import { gitAsync } from "../support/git-async.ts";
import { TestClient, TestStargate, verdict } from "../support/stargate.ts";
import { tempDir } from "../support/temp.ts";

const ROOT = path.join(import.meta.dir, "..", "..");
const PACKAGING = path.join(ROOT, "packaging");
const RULES = path.join(PACKAGING, "prometheus", "git-kv-stargate.rules.yml");

let stargate: TestStargate;
let metrics: Set<string>;

beforeAll(async () => {
  const mirror = tempDir("mirror");
  await gitAsync(mirror, "init", "-q", "--bare");
  stargate = await TestStargate.start({ mirror, adminListen: "127.0.0.1:0" });
  const client = new TestClient(stargate.dir, stargate.loginUrl(stargate.token()));
  await client.set({ a: "1" });
  const stale = client.plan({ b: "1" });
  await client.set({ c: "1" });
  expect(verdict(await client.push(stale))).toBe("CAS_CONFLICT");
  await stargate.logged((line) => line.component === "mirror" && line.result === "pushed");
  const text = await (await fetch(`${stargate.opsUrl}/metrics`)).text();
  metrics = new Set([...text.matchAll(/^# TYPE (\S+)/gm)].map(([, name]) => name!));
  for (const [, name] of text.matchAll(/^([a-z_]+)[{ ]/gm)) metrics.add(name!);
});
afterAll(() => stargate.stop());

/** Names of our metrics in a PromQL expression. */
const named = (expr: string): string[] =>
  [...expr.matchAll(/(?<![\w:])((?:stargate|process)_[a-z_]+)(?!:)/g)].map(([, name]) => name!);

interface Rule {
  readonly alert?: string;
  readonly expr: string;
  readonly annotations?: Readonly<Record<string, string>>;
}

function rules(): Rule[] {
  const read = readYaml(fs.readFileSync(RULES, "utf8"), v.any());
  if (!read.ok) throw new Error(JSON.stringify(read.problems));
  return (read.value as { groups: { rules: Rule[] }[] }).groups.flatMap((group) => group.rules);
}

describe("alert rules", () => {
  test("promtool checks and tests them", () => {
    const check = runProgram("promtool", ["check", "rules", RULES]);
    expect([check.status, check.stderr]).toEqual([0, ""]);
    const tested = runProgram("promtool", ["test", "rules", RULES.replace(".rules.yml", ".test.yml")]);
    expect([tested.status, tested.stdout + tested.stderr]).toEqual([0, expect.stringContaining("SUCCESS")]);
  });

  test("each alert has a test, a section of the runbook with commands, and figures that are there", () => {
    const tests = fs.readFileSync(RULES.replace(".rules.yml", ".test.yml"), "utf8");
    const runbook = fs.readFileSync(path.join(ROOT, "docs", "runbook.md"), "utf8");
    const alerts = rules().filter(({ alert }) => alert !== undefined);
    expect(alerts.length).toBeGreaterThan(15);
    for (const { alert, annotations } of alerts) {
      expect(tests).toContain(`- name: ${alert}\n`);
      expect(annotations?.runbook_url).toBe(`docs/runbook.md#${alert!.toLowerCase()}`);
      const section = runbook.split(/^## /m).find((each) => each.startsWith(`${alert}\n`));
      expect([alert, section]).toEqual([alert, expect.stringMatching(/^```sh\n[\s\S]+?\n```$/m)]);
    }
    const headings = [...runbook.matchAll(/^## (.*)$/gm)].map(([, heading]) => heading!);
    expect(headings.sort()).toEqual(alerts.map(({ alert }) => alert!).sort());
    for (const name of rules().flatMap(({ expr }) => named(expr))) expect(metrics).toContain(name);
  });

  test("counters that alerts watch for begin with 0", async () => {
    const text = await (await fetch(`${stargate.opsUrl}/metrics`)).text();
    for (const code of ["STORAGE", "BAD_SIGNATURE", "ATTESTATION_MISMATCH", "REPLAY_MISMATCH", "CHUNK_MISMATCH"]) {
      expect(text).toContain(`stargate_txn_total{repo="kv.git",ns="main",result="rejected",code="${code}"} 0`);
    }
  });
});

describe("the dashboard", () => {
  interface Panel {
    readonly title: string;
    readonly gridPos: { x: number; y: number; w: number; h: number };
    readonly targets: readonly { readonly expr: string }[];
  }
  const { panels } = JSON.parse(fs.readFileSync(path.join(PACKAGING, "grafana", "git-kv-stargate.json"), "utf8")) as {
    panels: Panel[];
  };

  test("asks for figures that are there, in expressions that Prometheus takes", () => {
    const exprs = panels.flatMap(({ targets }) => targets.map(({ expr }) => expr));
    expect(exprs.length).toBeGreaterThan(20);
    for (const expr of exprs) {
      expect(named(expr).length).toBeGreaterThan(0);
      for (const name of named(expr)) expect(metrics).toContain(name);
    }
    const list = exprs.map((expr, i) => {
      const filled = expr.replaceAll(/\$__(range|rate_interval|interval)/g, "5m").replaceAll("$repo", ".*");
      return `      - { record: "panel:r${i}", expr: ${JSON.stringify(filled)} }`;
    });
    const file = path.join(tempDir("dashboard"), "rules.yml");
    fs.writeFileSync(file, `groups:\n  - name: panels\n    rules:\n${list.join("\n")}\n`);
    expect(runProgram("promtool", ["check", "rules", file])).toMatchObject({ status: 0 });
  });

  test("shows every objective, and no panel lies over another", () => {
    const titles = panels.map(({ title }) => title);
    for (const title of ["Accept latency p95", "Mirror lag p95", "Mirror lag p99", "Mirror success, 24 h"]) {
      expect(titles).toContain(title);
    }
    const cells = panels.flatMap(({ gridPos: { x, y, w, h } }) =>
      Array.from({ length: w * h }, (_, i) => `${x + (i % w)},${y + Math.floor(i / w)}`),
    );
    expect(new Set(cells).size).toBe(cells.length);
    expect(Math.max(...panels.map(({ gridPos: { x, w } }) => x + w))).toBe(24);
  });
});

test("keepalived takes the example, and not a broken one", () => {
  // Version 2.2.7 ends itself when root asks it to test a script_user; whoever asks must be able to read the file.
  const dir = fs.mkdtempSync(path.join(os.tmpdir(), "keepalived-"));
  try {
    fs.chmodSync(dir, 0o755);
    const text = fs.readFileSync(path.join(PACKAGING, "keepalived", "keepalived.conf"), "utf8");
    const test = (config: string): number | null => {
      const file = path.join(dir, "keepalived.conf");
      fs.writeFileSync(file, config, { mode: 0o644 });
      const command = ["keepalived", "--config-test", "--use-file", file];
      const asNobody = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", ...command];
      const [program, ...args] = process.getuid?.() === 0 ? asNobody : command;
      return runProgram(program!, args, { env: { ...process.env, PATH: `${process.env.PATH}:/usr/sbin` } }).status;
    };
    expect(test(text)).toBe(0);
    expect(test(text.replace("virtual_router_id 84", "virtual_router_id 840"))).not.toBe(0);
  } finally {
    fs.rmSync(dir, { recursive: true });
  }
});

test("the check of the keepalived example asks what a Stargate answers", async () => {
  const text = fs.readFileSync(path.join(PACKAGING, "keepalived", "keepalived.conf"), "utf8");
  const command = /^ *script "([^"]+)"$/m.exec(text)![1]!;
  const check = (url: string) =>
    Bun.spawn(command.replace("http://127.0.0.1:9418", url).split(" "), { stdout: "ignore", stderr: "ignore" }).exited;
  expect(command).toContain("/readyz?exclude=mirror");
  expect(await check(stargate.opsUrl)).toBe(0);
  const { gate } = stargate.daemon.registry.all()[0]!;
  const { KvError } = await import("../../src/errors.ts");
  gate.fail(new KvError("STORAGE", "the disk is gone"));
  expect(await check(stargate.opsUrl)).toBe(22);
});
