/** The systemd unit, and the daemon as a service: readiness, signs of life, reload, end. */

import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { spawnSync } from "node:child_process";
import { randomBytes } from "node:crypto";
import * as fs from "node:fs";
import * as path from "node:path";
import { executable, runProgram } from "../support/executable.ts";
import { git } from "../support/git.ts";
import { TestClient } from "../support/stargate.ts";
import { tempDir } from "../support/temp.ts";

const ROOT = path.join(import.meta.dir, "..", "..");
const UNIT = path.join(ROOT, "packaging", "systemd", "git-kv-stargate.service");

/** The unit with the program of this build in the place of the installed one. */
function installedUnit(): string {
  const file = path.join(tempDir("unit"), "git-kv-stargate.service");
  fs.writeFileSync(file, fs.readFileSync(UNIT, "utf8").replaceAll("/usr/local/bin", path.join(ROOT, "dist")));
  return file;
}

describe("the unit", () => {
  test("systemd-analyze verify has nothing to say", () => {
    const run = runProgram("systemd-analyze", ["verify", "--man=no", installedUnit()]);
    expect([run.status, run.stdout + run.stderr]).toEqual([0, ""]);
  });

  test("its exposure is at most 2.0", () => {
    const { stdout } = runProgram("systemd-analyze", ["security", "--offline=true", "--no-pager", installedUnit()]);
    const exposure = Number(/Overall exposure level for \S+: ([\d.]+)/.exec(stdout)?.[1]);
    console.error(`exposure: ${exposure}`);
    expect(exposure).toBeLessThanOrEqual(2);
  });

  test("its filter lets through every system call that the daemon makes in a push, and at its start and end", async () => {
    const allowed = allowedCalls();
    const trace = path.join(tempDir("trace"), "calls");
    const service = await Service.start(["strace", "-f", "-qq", "-o", trace]);
    try {
      const client = new TestClient(service.repo, service.login("write"));
      await client.set({ "cfg:a": "1" });
      // So many that packs are combined, by another process.
      for (let i = 0; i < 20; i++) await client.set({ "cfg:b": i < 4 ? randomBytes(200_000).toString("hex") : `${i}` });
      while (fs.readdirSync(path.join(service.repo, "objects/pack")).length > 34) await Bun.sleep(20);
      git(tempDir("clone"), "clone", "-q", "--bare", service.login("read"), "x.git");
      await fetch(`${service.ops}/metrics`);
    } finally {
      expect(await service.end()).toBe(0);
    }
    const made = new Set(
      [...fs.readFileSync(trace, "utf8").matchAll(/^\d+ +(?:<\.\.\. )?([a-z_][a-z0-9_]*)\(/gm)].map(
        ([, name]) => name!,
      ),
    );
    expect(made.size).toBeGreaterThan(30);
    expect(fs.readFileSync(trace, "utf8").match(/execve\(/g)?.length).toBeGreaterThan(1);
    const refused = [...made].filter((name) => !allowed.has(name));
    console.error(`system calls: ${made.size} kinds, refused: ${refused.join(", ") || "none"}`);
    // SQLite gives its files the owner of the database where it runs as root; the unit does not.
    expect(refused.filter((name) => name !== "fchown" || process.geteuid?.() !== 0)).toEqual([]);
  });
});

/** The calls of SystemCallFilter=, as systemd resolves the groups. */
function allowedCalls(): Set<string> {
  const groups = new Map<string, string[]>();
  let group: string[] = [];
  for (const line of runProgram("systemd-analyze", ["syscall-filter", "--no-pager"]).stdout.split("\n")) {
    if (line.startsWith("@")) {
      group = [];
      groups.set(line.trim(), group);
    } else if (/^ +[a-z@]/.test(line)) group.push(line.trim());
  }
  const resolve = (name: string): string[] => (name.startsWith("@") ? groups.get(name)!.flatMap(resolve) : [name]);
  const allowed = new Set<string>();
  for (const [, not, names] of fs.readFileSync(UNIT, "utf8").matchAll(/^SystemCallFilter=(~?)(.+)$/gm)) {
    for (const name of names!.split(" ").flatMap(resolve)) {
      if (not === "~") allowed.delete(name);
      else allowed.add(name);
    }
  }
  return allowed;
}

/** Takes datagrams at a unix socket, and prints each as a line of JSON. */
const RECEIVER = `
import json, socket, sys
s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
s.bind(("\\0" + sys.argv[1][1:]) if sys.argv[1].startswith("@") else sys.argv[1])
print(json.dumps("bound"), flush=True)
while True:
    print(json.dumps(s.recv(65536).decode()), flush=True)
`;

class Receiver {
  readonly messages: string[] = [];
  readonly #child: Bun.Subprocess<"ignore", "pipe", "inherit">;

  constructor(socket: string) {
    this.#child = Bun.spawn(["python3", "-c", RECEIVER, socket], {
      stdin: "ignore",
      stdout: "pipe",
      stderr: "inherit",
    });
    void this.#read();
  }

  async #read(): Promise<void> {
    let text = "";
    const decoder = new TextDecoder();
    for await (const chunk of this.#child.stdout) {
      text += decoder.decode(chunk, { stream: true });
      const lines = text.split("\n");
      text = lines.pop()!;
      for (const line of lines) this.messages.push(JSON.parse(line) as string);
    }
  }

  /** Waits for the message at which `fits` is true, from `from` on; returns its place. */
  async next(fits: (message: string) => boolean, from = 0): Promise<number> {
    for (const end = Date.now() + 20_000; ; await Bun.sleep(5)) {
      const at = this.messages.findIndex((message, i) => i >= from && fits(message));
      if (at >= 0) return at;
      if (Date.now() > end) throw new Error(`not said: ${JSON.stringify(this.messages)}`);
    }
  }

  stop(): void {
    this.#child.kill();
  }
}

/** The compiled daemon as a service manager runs it. */
class Service {
  readonly repo: string;
  readonly child: Bun.Subprocess;
  log = "";

  private constructor(repo: string, before: readonly string[], env: Record<string, string>) {
    this.repo = repo;
    const serve = ["serve", "--repo", repo, "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"];
    const child = Bun.spawn([...before, executable("git-kv-stargate"), ...serve], {
      stdin: "ignore",
      stdout: "ignore",
      stderr: "pipe",
      env: { ...process.env, ...env },
    });
    this.child = child;
    void (async () => {
      for await (const chunk of child.stderr) this.log += Buffer.from(chunk).toString();
    })();
  }

  static async start(before: readonly string[] = [], env: Record<string, string> = {}): Promise<Service> {
    const repo = path.join(tempDir("service"), "kv.git");
    const made = runProgram(executable("git-kv-stargate"), ["init", "--repo", repo]);
    if (made.status !== 0) throw new Error(made.stderr);
    const service = new Service(repo, before, env);
    for (const end = Date.now() + 30_000; service.urls.length < 2; await Bun.sleep(10)) {
      if (Date.now() > end || service.child.exitCode !== null) throw new Error(`it does not start: ${service.log}`);
    }
    return service;
  }

  get urls(): string[] {
    return [...this.log.matchAll(/^listening on (http:\S+)$/gm)].map(([, url]) => url!);
  }

  get ops(): string {
    return this.urls[1]!;
  }

  login(scope: string): string {
    const args = ["token", "add", "--repo", this.repo, "--name", `t-${scope}`, "--scope", scope];
    const token = runProgram(executable("git-kv-stargate"), args).stdout.trim();
    return `${this.urls[0]!.replace("http://", `http://me:${token}@`)}/kv.git`;
  }

  /** Ends it with SIGTERM; returns its exit status. */
  async end(): Promise<number> {
    // Where strace stands before it, its child is the daemon.
    const [inner] = spawnSync("pgrep", ["-P", String(this.child.pid), "-f", "git-kv-stargate"], {
      encoding: "utf8",
    }).stdout.split("\n");
    process.kill(Number(inner || this.child.pid), "SIGTERM");
    return this.child.exited;
  }

  async logged(text: string): Promise<void> {
    for (const end = Date.now() + 20_000; !this.log.includes(text); await Bun.sleep(5)) {
      if (Date.now() > end) throw new Error(`not logged: ${text}\n${this.log}`);
    }
  }
}

describe.each([
  ["a path", () => path.join(tempDir("notify"), "socket")],
  ["an abstract name", () => `@git-kv-test-${process.pid}-${Math.random().toString(36).slice(2)}`],
])("sd_notify to %s", (_name, newSocket) => {
  let receiver: Receiver;
  let service: Service;
  beforeAll(async () => {
    const socket = newSocket();
    receiver = new Receiver(socket);
    await receiver.next((message) => message === "bound");
    service = await Service.start([], { NOTIFY_SOCKET: socket, WATCHDOG_USEC: "200000" });
  });
  afterAll(() => {
    service.child.kill();
    receiver.stop();
  });

  test("ready, signs of life, reload with what is new, stop", async () => {
    const ready = await receiver.next((message) => message.startsWith("READY=1"));
    expect(receiver.messages[ready]).toBe("READY=1\nSTATUS=serving kv.git");
    const alive = await receiver.next((message) => message === "WATCHDOG=1");
    await receiver.next((message) => message === "WATCHDOG=1", alive + 1);

    const anonymous = () => fetch(`${service.urls[0]}/kv.git/info/refs?service=git-upload-pack`);
    expect((await anonymous()).status).toBe(401);
    const settings = path.join(service.repo, "stargate.yaml");
    fs.appendFileSync(settings, "anonymous_read: true\nlisten: 127.0.0.1:1\n");
    service.child.kill("SIGHUP");
    const reloading = await receiver.next((message) => /^RELOADING=1\nMONOTONIC_USEC=\d+$/.test(message));
    await receiver.next((message) => message.startsWith("READY=1"), reloading);
    expect((await anonymous()).status).toBe(200);

    // Nonsense is said, and changes nothing.
    const before = fs.readFileSync(settings);
    fs.appendFileSync(settings, "anonymous_raed: false\n");
    service.child.kill("SIGHUP");
    await service.logged('"result":"not reloaded"');
    expect((await anonymous()).status).toBe(200);
    fs.writeFileSync(settings, before);

    service.child.kill("SIGTERM");
    await receiver.next((message) => message.startsWith("STOPPING=1"));
    expect(await service.child.exited).toBe(0);
  });

  test("every line of the log is JSON with time, level and component", async () => {
    const lines = service.log.split("\n").filter((line) => line !== "" && !line.startsWith("listening on "));
    expect(lines.length).toBeGreaterThan(0);
    const results = lines.map((line) => (JSON.parse(line) as { result?: string }).result);
    expect([results[0], ...results.slice(-2)]).toEqual(["started", "stopping", "stopped"]);
    for (const line of lines) {
      expect(JSON.parse(line)).toMatchObject({
        time: expect.stringMatching(/^\d{4}-\d\d-\d\dT.*Z$/),
        level: expect.stringMatching(/^(info|warn|error)$/),
        component: expect.any(String),
      });
    }
  });
});
