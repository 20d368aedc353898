/** The listener for operators: health, readiness, metrics, and who may see what. */

import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { spawnSync } from "node:child_process";
import * as fs from "node:fs";
import * as net from "node:net";
import * as path from "node:path";
import { systemClock } from "../../../src/clock.ts";
import { LIMITS } from "../../../src/limits.ts";
import type { MirrorProbe } from "../../../src/stargate/ops/mirror-probe.ts";
import { MirrorProbe as Probe } from "../../../src/stargate/ops/mirror-probe.ts";
import { git } from "../../support/git.ts";
import { TestClient, TestStargate, verdict } from "../../support/stargate.ts";
import { tempDir } from "../../support/temp.ts";
import { TEST_FORMAT } from "../../support/test-format.ts";

let stargate: TestStargate;
let client: TestClient;
let mirror: string;

beforeAll(async () => {
  mirror = tempDir("mirror");
  git(mirror, "init", "-q", "--bare");
  stargate = await TestStargate.start({ mirror, adminListen: "127.0.0.1:0" });
  client = new TestClient(stargate.dir, stargate.loginUrl(stargate.token("write", "ci")));
  await client.set({ "cfg:a": "1" });
  await stargate.logged((line) => line.component === "mirror" && line.result === "pushed");
  const stale = client.plan({ "cfg:b": "1" });
  await client.set({ "cfg:c": "1" });
  expect(verdict(await client.push(stale))).toBe("CAS_CONFLICT");
});
afterAll(() => stargate.stop());

interface Answer {
  readonly status: string;
  readonly repositories?: { repo: string; checks: { name: string; ok: boolean; ms: number; error?: string }[] }[];
}

/** As if from elsewhere: a proxy on this machine passes the request on. */
const REMOTE = { "X-Forwarded-For": "192.0.2.7" };

async function ask(tail: string, headers: Record<string, string> = {}): Promise<{ status: number; body: Answer }> {
  const response = await fetch(stargate.opsUrl + tail, { headers });
  return { status: response.status, body: (await response.json()) as Answer };
}

const bearer = (token: string) => ({ ...REMOTE, Authorization: `Bearer ${token}` });

/** The checks that fail, with their errors. */
const failing = ({ repositories }: Answer) =>
  Object.fromEntries(
    repositories!.flatMap(({ checks }) => checks.filter(({ ok }) => !ok).map(({ name, error }) => [name, error])),
  );

/** All that comes back for `request`, until the listener hangs up. */
function raw(request: string): Promise<string> {
  return new Promise((resolve, reject) => {
    let text = "";
    const socket = net.connect(Number(new URL(stargate.opsUrl).port), "127.0.0.1", () => socket.write(request));
    socket.on("data", (data) => {
      text += data.toString("latin1");
    });
    socket.on("close", () => resolve(text));
    socket.on("error", reject);
  });
}

/** Asks until the answer is another than one that was kept. */
async function until(tail: string, status: number): Promise<Answer> {
  for (const end = Date.now() + 50_000; ; await Bun.sleep(50)) {
    const answer = await ask(tail);
    if (answer.status === status) return answer.body;
    if (Date.now() > end) throw new Error(`${tail} says ${JSON.stringify(answer)}`);
  }
}

describe("/healthz", () => {
  test("200 with each check and its time", async () => {
    const { status, body } = await ask("/healthz");
    expect(status).toBe(200);
    expect(body.status).toBe("ok");
    const [only] = body.repositories!;
    expect(only!.checks.map(({ name, ok }) => [name, ok])).toEqual([
      ["repository", true],
      ["hooks", true],
      ["journal", true],
      ["disk", true],
    ]);
    for (const { ms } of only!.checks) expect(ms).toBeGreaterThanOrEqual(0);
  });

  test("500 where a hook is gone or its setting is, and the repository cannot be read", async () => {
    const hook = path.join(stargate.dir, "hooks", "update");
    const text = fs.readFileSync(hook);
    fs.rmSync(hook);
    git(stargate.dir, "config", "receive.fsckObjects", "false");
    expect(failing(await until("/healthz", 500))).toEqual({
      hooks: expect.stringMatching(/^hooks\/update is missing; receive\.fsckObjects is false.*git-kv-stargate init/),
    });
    fs.writeFileSync(hook, text, { mode: 0o755 });
    git(stargate.dir, "config", "receive.fsckObjects", "true");
    await until("/healthz", 200);

    const ref = path.join(stargate.dir, "refs", "kv", "torn");
    const absent = "1".repeat(TEST_FORMAT.hexSize);
    fs.writeFileSync(ref, `${absent}\n`);
    expect(failing(await until("/healthz", 500))).toEqual({ repository: expect.stringContaining(absent) });
    fs.rmSync(ref);
    await until("/healthz", 200);
  });
});

describe("/readyz", () => {
  test("200 while it leads and the mirror follows; details where they are asked for", async () => {
    expect(await ask("/readyz")).toEqual({ status: 200, body: { status: "ready" } });
    const { body } = await ask("/readyz?verbose");
    expect(body.repositories![0]!.checks.map(({ name }) => name)).toEqual([
      "leader",
      "writes",
      "mirror",
      "mirror-backlog",
    ]);
    const { body: without } = await ask("/readyz?verbose&exclude=mirror");
    expect(without.repositories![0]!.checks.map(({ name }) => name)).toEqual(["leader", "writes"]);
    expect((await fetch(`${stargate.opsUrl}/readyz?exclude=mirr`)).status).toBe(400);
  });

  test("503 while the mirror is away, unless that is excluded", async () => {
    const away = await TestStargate.start({ mirror: `${tempDir("gone")}/x.git`, adminListen: "127.0.0.1:0" });
    try {
      const response = await fetch(`${away.opsUrl}/readyz`);
      expect(response.status).toBe(503);
      const body = (await response.json()) as Answer;
      expect(body.status).toBe("not ready");
      expect(Object.keys(failing(body))).toEqual(["mirror"]);
      expect((await fetch(`${away.opsUrl}/readyz?exclude=mirror`)).status).toBe(200);
    } finally {
      await away.stop();
    }
  });

  test("503 where the mirror is too far behind", async () => {
    const dir = path.join(tempDir("behind"), "kv.git");
    const behind = await TestStargate.start({ mirror: `${tempDir("gone")}/x.git`, adminListen: "127.0.0.1:0" });
    await behind.stop();
    fs.renameSync(behind.dir, dir);
    fs.appendFileSync(path.join(dir, "stargate.yaml"), "backlog_limit: 1\n");
    const again = await TestStargate.start({ dir, adminListen: "127.0.0.1:0" });
    try {
      const writer = new TestClient(dir, again.loginUrl(again.token()));
      await writer.set({ a: "1" });
      const names = async () => Object.keys(failing((await (await fetch(`${again.opsUrl}/readyz`)).json()) as Answer));
      expect(await names()).toEqual(["mirror"]);
      await writer.set({ a: "2" });
      expect(await names()).toEqual(["mirror", "mirror-backlog"]);
    } finally {
      await again.stop();
    }
  });

  test("the mirror is asked at most twice a minute, and never waited for long", async () => {
    let [now, asked] = [0, 0];
    let answer: Promise<unknown> = Promise.resolve();
    const probe: MirrorProbe = new Probe(
      () => {
        asked++;
        return answer;
      },
      () => now,
      20,
    );
    for (let i = 0; i < 10; i++) await probe.check();
    expect(asked).toBe(1);
    now = 30_000;
    answer = Promise.reject(new Error("no route"));
    await expect(probe.check()).rejects.toThrow("no route");
    await expect(probe.check()).rejects.toThrow("no route");
    expect([asked, probe.seemsWell]).toEqual([2, false]);
    now = 60_000;
    const { promise, resolve } = Promise.withResolvers<void>();
    answer = promise;
    await expect(probe.check()).rejects.toThrow("has not answered");
    resolve();
    await promise;
    await Bun.sleep(0);
    await probe.check();
    expect([asked, probe.seemsWell]).toEqual([3, true]);
  });
});

describe("/metrics", () => {
  test("what promtool takes, with the names and labels of the documentation", async () => {
    const response = await fetch(`${stargate.opsUrl}/metrics`);
    expect(response.headers.get("content-type")).toStartWith("text/plain; version=0.0.4");
    const text = await response.text();
    const check = spawnSync("promtool", ["check", "metrics"], { input: text, encoding: "utf8" });
    expect(check.stderr + check.stdout).not.toMatch(/error|no help text|should have/);
    for (const line of [
      'stargate_txn_total{repo="kv.git",ns="main",result="accepted",code="OK"} 2',
      'stargate_txn_total{repo="kv.git",ns="main",result="rejected",code="CAS_CONFLICT"} 1',
      'stargate_txn_latency_ms_count{repo="kv.git",ns="main"} 2',
      'stargate_mirror_diverged{repo="kv.git"} 0',
      'stargate_mirror_blocked{repo="kv.git"} 0',
      'stargate_ha_role{repo="kv.git"} 1',
      'stargate_health_ready{repo="kv.git"} 1',
      'stargate_policy_drift{repo="kv.git"} 0',
      'stargate_watch_streams{repo="kv.git"} 0',
      'stargate_watch_refused_total{repo="kv.git"} 0',
    ]) {
      expect(text.split("\n")).toContain(line);
    }
    for (const pattern of [
      /^stargate_mirror_lag_seconds_count\{repo="kv.git",ns="main"\} [12]$/m,
      /^stargate_mirror_push_total\{repo="kv.git",result="ok"\} [1-9]/m,
      /^stargate_mirror_backlog_size\{repo="kv.git",ns="main"\} \d/m,
      /^process_resident_memory_bytes [1-9]\d{6,}/m,
      /^process_cpu_seconds_total 0?\d*\.\d/m,
      /^process_open_fds [1-9]/m,
    ]) {
      expect(text).toMatch(pattern);
    }
  });

  test("names that clients make up do not become labels", async () => {
    const { gate } = stargate.daemon.registry.all()[0]!;
    for (let i = 0; i < 300; i++) {
      const refused = { at: Date.now(), ns: `made-up-${i}`, message: "", who: "x", ms: 1 };
      gate.events.emit({ kind: "rejected", code: "UNSIGNED", ...refused });
    }
    const text = await (await fetch(`${stargate.opsUrl}/metrics`)).text();
    expect(text).not.toContain("made-up");
    expect(text).toContain('stargate_txn_total{repo="kv.git",ns="other",result="rejected",code="UNSIGNED"} 300');
  });
});

describe("who may see what", () => {
  test("elsewhere than on the loopback: the verdict alone, all of it with a token, the rest with an admin's", async () => {
    expect(await ask("/healthz", REMOTE)).toEqual({ status: 200, body: { status: "ok" } });
    expect(await ask("/readyz?verbose", REMOTE)).toEqual({ status: 200, body: { status: "ready" } });
    const reader = bearer(stargate.token("read"));
    const admin = bearer(stargate.token("admin"));
    expect((await ask("/healthz", reader)).body.repositories).toHaveLength(1);
    for (const tail of ["/", "/metrics", "/api/status", "/api/keys?repo=kv.git&ns=main", "/nothing"]) {
      for (const headers of [REMOTE, bearer("gkv_wrong"), reader, bearer(stargate.token("write"))]) {
        const response = await fetch(stargate.opsUrl + tail, { headers: headers as Record<string, string> });
        expect([tail, response.status]).toEqual([tail, 401]);
        expect(response.headers.get("www-authenticate")).toStartWith("Basic");
      }
      expect((await fetch(stargate.opsUrl + tail, { headers: admin })).status).toBe(tail === "/nothing" ? 404 : 200);
    }
  });

  test("wrong tokens have to wait, counted with those of the other doors; probes are answered all the same", async () => {
    let now = 1_767_322_800_000;
    const clock = { ...systemClock, now: () => now };
    const guarded = await TestStargate.start({ clock, adminListen: "127.0.0.1:0" });
    try {
      const [known, fresh] = [guarded.token("admin"), guarded.token("admin")];
      const at = async (tail: string, token: string): Promise<[number, string | null]> => {
        const response = await fetch(guarded.opsUrl + tail, { headers: bearer(token) });
        return [response.status, response.headers.get("retry-after")];
      };
      const git = `${guarded.url}/info/refs?service=git-upload-pack`;
      const atGit = async (token: string): Promise<number> => (await fetch(git, { headers: bearer(token) })).status;
      expect(await at("/metrics", known)).toEqual([200, null]);
      const half = LIMITS.loginFailures / 2;
      for (let i = 0; i < half; i++) expect(await atGit("wrong")).toBe(401);
      for (let i = 0; i <= half; i++) expect(await at("/metrics", "wrong")).toEqual([401, null]);
      for (const token of ["wrong", fresh]) {
        for (const tail of ["/metrics", "/", "/api/status", "/nothing"])
          expect(await at(tail, token)).toEqual([429, "1"]);
        expect(await atGit(token)).toBe(429);
        const probe = await fetch(`${guarded.opsUrl}/healthz`, { headers: bearer(token) });
        expect([probe.status, await probe.json()]).toEqual([200, { status: "ok" }]);
      }
      expect([await at("/metrics", known), await atGit(known)]).toEqual([[200, null], 200]);
      expect((await fetch(`${guarded.opsUrl}/metrics`)).status).toBe(200);
      expect((await fetch(`${guarded.opsUrl}/metrics`, { headers: REMOTE })).status).toBe(401);
      now += 1_000;
      // Guessing by way of a probe counts too.
      await fetch(`${guarded.opsUrl}/healthz`, { headers: bearer("wrong") });
      expect(await at("/metrics", fresh)).toEqual([429, "2"]);
      now += 2_000;
      expect(await at("/metrics", fresh)).toEqual([200, null]);
    } finally {
      await guarded.stop();
    }
  });

  test("a web page whose name points here is not local", async () => {
    const { port } = new URL(stargate.opsUrl);
    for (const [host, status] of [
      ["evil.example.com", "401"],
      ["localhost.evil.example.com", "401"],
      [`localhost:${port}`, "200"],
      [`127.0.0.1:${port}`, "200"],
    ] as const) {
      const answer = await raw(`GET /api/status HTTP/1.1\r\nHost: ${host}\r\nConnection: close\r\n\r\n`);
      expect([host, answer.slice(9, 12)]).toEqual([host, status]);
    }
  });

  test("a probe of HTTP/1.0 without a host, or with one that can be none, gets the bare verdict", async () => {
    for (const host of ["", "Host:\r\n", "Host: a b\r\n", "Host: x:99999\r\n"]) {
      for (const [tail, body] of [
        ["/healthz", '{"status":"ok"}'],
        ["/readyz?exclude=mirror", '{"status":"ready"}'],
      ]) {
        const answer = await raw(`GET ${tail} HTTP/1.0\r\n${host}Connection: close\r\n\r\n`);
        expect([host, answer.slice(0, 15), answer.split("\r\n\r\n")[1]]).toEqual([host, "HTTP/1.1 200 OK", body]);
      }
      expect((await raw(`GET /api/status HTTP/1.0\r\n${host}Connection: close\r\n\r\n`)).slice(9, 12)).toBe("401");
    }
  });

  test("what is asked wrongly, and what would change something", async () => {
    for (const [tail, status] of [
      ["/api/keys?repo=other&ns=main", 400],
      ["/api/keys?repo=kv.git&ns=../x", 400],
      ["/api/keys?repo=kv.git&ns=nowhere", 404],
      ["/api/history?repo=kv.git&ns=main&key=", 400],
      ["/api/history?repo=kv.git&ns=main&key=cfg:a", 200],
    ] as const) {
      expect([tail, (await fetch(stargate.opsUrl + tail)).status]).toEqual([tail, status]);
    }
    expect((await fetch(stargate.opsUrl, { method: "POST" })).status).toBe(405);
  });
});
