/** The command line of the compiled executables, from outside. */

import { describe, expect, test } from "bun:test";
import { spawn, spawnSync } from "node:child_process";
import * as fs from "node:fs";
import * as path from "node:path";
import { executable, gitKv, runProgram } from "../support/executable.ts";
import { tempDir } from "../support/temp.ts";
import { typeInto } from "../support/typed-shell.ts";

const KV = executable("git-kv");
const STARGATE = executable("git-kv-stargate");

describe("usage errors exit with 64", () => {
  test("an unknown command, with the nearest one", () => {
    const run = gitKv(["verison"]);
    expect(run).toEqual({
      status: 64,
      signal: null,
      stdout: "",
      stderr: "error: unknown command 'verison'\nhint: did you mean 'version'?\n",
    });
    expect(runProgram(STARGATE, ["verison"]).status).toBe(64);
  });

  test("an unknown flag, with the nearest one", () => {
    expect(gitKv(["version", "--jsom"])).toMatchObject({
      status: 64,
      stderr: "error: unknown flag --jsom\nhint: did you mean --json?\n",
    });
  });

  test("a missing and an extra argument", () => {
    expect(gitKv(["completion"])).toMatchObject({ status: 64, stdout: "" });
    expect(gitKv(["version", "extra"])).toMatchObject({ status: 64, stdout: "" });
  });

  test("no command: the overview, on stderr", () => {
    const run = gitKv([]);
    expect(run).toMatchObject({ status: 64, stdout: "" });
    expect(run.stderr).toStartWith("usage: git kv [flags] COMMAND");
  });

  test("with --json the error is an object on stdout, whatever else is wrong", () => {
    for (const args of [["--json", "verison"], ["verison", "--json"], ["version", "--bad", "--json"], ["--json"]]) {
      const run = gitKv(args);
      expect(run).toMatchObject({ status: 64, stderr: "" });
      expect(run.stdout.endsWith("\n")).toBe(true);
      expect(JSON.parse(run.stdout).error).toMatchObject({ code: "USAGE", exit: 64, message: expect.any(String) });
    }
    expect(gitKv(["verison", "--", "--json"]).stdout).toBe("");
  });

  test("a folder for -C that is not there", () => {
    expect(gitKv(["-C", "/nonexistent", "version"])).toMatchObject({ status: 5, stdout: "" });
  });
});

test("a bad value of a flag: 64 where it is a choice or a count, 4 where it has a form of its own", () => {
  const dir = tempDir("flags");
  gitKv(["-C", dir, "init"]);
  expect(gitKv(["-C", dir, "set", "k", "v"]).status).toBe(0);
  runProgram(STARGATE, ["init", "--repo", path.join(dir, "kv.git")]);
  const kv = (line: string): [string, number | null] => [line, gitKv(["-C", dir, ...line.split(" ")]).status];
  const usage = [
    ...["list", "log", "history k"].map((verb) => `${verb} --limit some`),
    ...["get k --read-from x", "fetch --read-from x", "import . --format x", "snapshot --export - --format x"],
    ...["import . --batch 0", "wait --oid 1 --visible-on x", "completion x"],
  ];
  expect(usage.map(kv)).toEqual(usage.map((line) => [line, 64]));
  const invalid = [
    ...["get k --at x", "get k --range x", "get k --ns ..", "list --after \x01", "diff x"],
    ...["ttl", "expires", "ctype", "label", "expect-tree", "expect-blob"].map((flag) => `set k v --${flag} x`),
    ...["wait --oid x", `wait --oid ${"0".repeat(40)} --timeout x`, "verify --since x", "watch --since x"],
    ...["serve --listen x", "serve --interval x", "serve --interval 0s", "epoch new --label ..", "init --epoch .."],
    ...["policy check --as x --file y", "stargate sync --ns .."],
  ];
  expect(invalid.map(kv)).toEqual(invalid.map((line) => [line, 4]));
  const stargate = (line: string): [string, number | null] => [
    line,
    runProgram(STARGATE, [...line.split(" "), "--repo", path.join(dir, "kv.git")]).status,
  ];
  const ofStargate: readonly [line: string, status: number][] = [
    ["log --limit 0", 64],
    ["token add --name a --scope x", 64],
    ["init --object-format x", 64],
    ["log --since x", 4],
    ["log --ns ..", 4],
    ["sync --ns ..", 4],
    ["token add --name a --scope write --ns ..", 4],
    ["token add --name a --expires x", 4],
    ["token add --name a --expires 2001-01-01", 4],
    ["serve --listen x", 5],
  ];
  expect(ofStargate.map(([line]) => stargate(line))).toEqual([...ofStargate]);
});

describe("answers", () => {
  test("version", () => {
    const { version } = JSON.parse(fs.readFileSync(path.join(import.meta.dir, "../../package.json"), "utf8"));
    for (const program of [KV, STARGATE]) {
      const run = runProgram(program, ["version", "--json"]);
      expect(run).toMatchObject({ status: 0, stderr: "" });
      expect(JSON.parse(run.stdout)).toEqual({ version, commit: expect.any(String), bun: Bun.version, format: 1 });
      expect(runProgram(program, ["--version"]).stdout).toContain(`${path.basename(program)} ${version} `);
    }
  });

  test("help, by flag and by command", () => {
    expect(gitKv(["--help"])).toMatchObject({ status: 0, stderr: "", stdout: gitKv(["help"]).stdout });
    expect(gitKv(["version", "--help"])).toMatchObject({
      status: 0,
      stderr: "",
      stdout: gitKv(["help", "version"]).stdout,
    });
    expect(gitKv(["help", "verison"])).toMatchObject({ status: 64, stdout: "" });
  });

  test("as `git kv`", () => {
    const env = { ...process.env, PATH: `${path.dirname(KV)}:${process.env.PATH}` };
    expect(runProgram("git", ["kv", "version"], { env }).stdout).toBe(gitKv(["version"]).stdout);
    expect(runProgram("git", ["kv", "verison"], { env }).status).toBe(64);
  });

  test("neither .env nor bunfig.toml of the folder is read", () => {
    const dir = tempDir("dotenv");
    fs.writeFileSync(path.join(dir, ".env"), "GIT_KV_TRACE=1\nNODE_OPTIONS=--bad\n");
    fs.writeFileSync(path.join(dir, "bunfig.toml"), 'preload = ["./evil.ts"]\n');
    fs.writeFileSync(path.join(dir, "evil.ts"), 'throw new Error("loaded");\n');
    expect(gitKv(["version"], { cwd: dir })).toMatchObject({ status: 0, stderr: "" });
  });

  test("GIT_KV_TRACE writes git's kind of lines to a file or to stderr", () => {
    const file = path.join(tempDir("trace"), "trace");
    const env = { ...process.env, GIT_KV_TRACE: file };
    expect(gitKv(["version"], { env })).toMatchObject({ status: 0, stderr: "" });
    expect(fs.readFileSync(file, "utf8")).toMatch(
      /^\d\d:\d\d:\d\d\.\d{6} git-kv +perf: version: exit 0; start [\d.]+ ms, load [\d.]+ ms, run [\d.]+ ms\n$/,
    );
    expect(gitKv(["version"], { env: { ...process.env, GIT_KV_TRACE: "1" } }).stderr).toContain("git-kv     perf: ");
    for (const off of ["0", "false", ""])
      expect(gitKv(["version"], { env: { ...process.env, GIT_KV_TRACE: off } }).stderr).toBe("");
    for (const wrong of ["trace.log", path.dirname(file)]) {
      const { status, stderr } = gitKv(["version"], { env: { ...process.env, GIT_KV_TRACE: wrong } });
      expect([status, stderr]).toEqual([0, expect.stringContaining(`GIT_KV_TRACE: cannot trace to '${wrong}'`)]);
    }
  });
});

/** tests/cli/demo.ts compiled as our programs are: its verbs write much, wait, and break. */
const DEMO = await compileDemo();

async function compileDemo(): Promise<string> {
  const outfile = path.join(tempDir("demo"), "git-demo");
  const { compileOptions } = await import("../../scripts/compile.ts");
  const built = await Bun.build(compileOptions(path.join(import.meta.dir, "../cli/demo.ts"), outfile, "test"));
  if (!built.success) throw new Error(built.logs.join("\n"));
  return outfile;
}

describe("streams", () => {
  test("1 MiB through a pipe that is read slowly arrives whole", async () => {
    const child = spawn(DEMO, ["shout", String(1024 * 1024)], { stdio: ["ignore", "pipe", "inherit"] });
    await Bun.sleep(50);
    let size = 0;
    for await (const chunk of child.stdout) {
      size += (chunk as Buffer).length;
      if (size < 200_000) await Bun.sleep(5);
    }
    expect(size).toBe(1024 * 1024);
  });

  test("1 MiB into a non-blocking pipe arrives whole", () => {
    // node and others leave O_NONBLOCK on a pipe they share; perl sets it here on the very pipe.
    const script = `perl -e 'use Fcntl; fcntl(STDOUT, F_SETFL, O_WRONLY | O_NONBLOCK); exec @ARGV' ${DEMO} shout 1048576 | (sleep 0.1; wc -c)`;
    const run = runProgram("bash", ["-c", script]);
    expect([run.stdout.trim(), run.stderr]).toEqual(["1048576", ""]);
  });

  test("a reader that leaves ends the program silently with 141", () => {
    const run = runProgram("bash", ["-c", `${DEMO} shout 100000000 | head -c 10; echo "\${PIPESTATUS[0]}"`]);
    expect(run).toMatchObject({ stdout: "1234567\n12141\n", stderr: "" });
  });

  test("a full disk is said", () => {
    const run = runProgram("bash", ["-c", `${KV} version >/dev/full`]);
    expect(run.status).toBe(5);
    expect(run.stderr).toStartWith("error: cannot write the answer: ");
  });
});

describe("ends", () => {
  test("a bug exits 1, says how to report it, and shows its stack with --debug only", () => {
    const run = runProgram(DEMO, ["secret"]);
    expect(run).toMatchObject({ status: 1, stdout: "" });
    expect(run.stderr).toMatch(/^error: a bug\nhint: .*report it.*\n$/);
    expect(runProgram(DEMO, ["secret", "--debug"]).stderr).toContain("TypeError: a bug\n    at ");
  });

  async function interrupt(args: readonly string[], signals: readonly NodeJS.Signals[]) {
    const child = Bun.spawn([DEMO, ...args], { stdin: "ignore", stdout: "pipe", stderr: "pipe" });
    // It has started to wait when it says so.
    await child.stdout.getReader().read();
    for (const signal of signals) {
      child.kill(signal);
      await Bun.sleep(30);
    }
    return { status: await child.exited, stderr: await child.stderr.text() };
  }

  test("SIGINT and SIGTERM let the verb end and exit 130 and 143", async () => {
    const said = { SIGINT: "interrupted by SIGINT", SIGTERM: "ended by SIGTERM" };
    for (const [signal, status] of [
      ["SIGINT", 130],
      ["SIGTERM", 143],
    ] as const) {
      expect(await interrupt(["linger"], [signal])).toEqual({
        status,
        stderr: `cleaned up\nerror: ${said[signal]}\n`,
      });
    }
  });

  test("a second signal ends a verb that does not listen", async () => {
    expect(await interrupt(["linger", "--deaf"], ["SIGINT", "SIGINT"])).toEqual({ status: 130, stderr: "" });
  });

  test("a verb that ends by itself after a signal keeps its status", async () => {
    expect(await interrupt(["linger", "--calm"], ["SIGTERM"])).toEqual({ status: 0, stderr: "" });
  });
});

describe("completion", () => {
  test("bash, zsh and fish accept the scripts", () => {
    for (const shell of ["bash", "zsh", "fish"]) {
      for (const program of [KV, STARGATE, DEMO]) {
        const { stdout, status } = runProgram(program, ["completion", shell]);
        expect(status).toBe(0);
        const check = spawnSync(shell, ["-n", "/dev/stdin"], { input: stdout });
        expect([shell, check.status, String(check.stderr)]).toEqual([shell, 0, ""]);
      }
    }
  });

  function inBash(words: readonly string[]): string[] {
    const quoted = words.map((word) => `'${word}'`).join(" ");
    const script = `source <(${DEMO} completion bash); COMP_WORDS=(${quoted}); COMP_CWORD=${words.length - 1}; _git_demo; printf '%s\\n' "\${COMPREPLY[@]}"`;
    const run = runProgram("bash", ["--norc", "-c", script]);
    expect(run.stderr).toBe("");
    return run.stdout.split("\n").filter((line) => line !== "");
  }

  test("in bash", () => {
    expect(inBash(["git-demo", ""])).toEqual([
      "set",
      "get",
      "remote",
      "shout",
      "linger",
      "help",
      "version",
      "completion",
    ]);
    expect(inBash(["git-demo", "--ns", "x", "re"])).toEqual(["remote"]);
    expect(inBash(["git-demo", "remote", ""])).toEqual(["setup", "undo"]);
    expect(inBash(["git-demo", "get", "--read"])).toEqual(["--read-from"]);
    expect(inBash(["git-demo", "get", "--read-from", ""])).toEqual(["local", "mirror"]);
    expect(inBash(["git-demo", "get", "--read-from", "=", "l"])).toEqual(["local"]);
    expect(inBash(["git-demo", "set", "k", "--j"])).toEqual(["--json"]);
    expect(inBash(["git-demo", "completion", ""])).toEqual(["bash", "zsh", "fish"]);
    expect(inBash(["git-demo", "help", "re"])).toEqual(["remote"]);
    expect(inBash(["git", "demo", "remote", "s"])).toEqual(["setup"]);
    expect(inBash(["git", "-C", "dir", "demo", "ge"])).toEqual(["get"]);
  });

  test("in fish", () => {
    const offers = (line: string): string[] => {
      const script = `${DEMO} completion fish | source; complete -C ${JSON.stringify(line)}`;
      const run = runProgram("fish", ["--no-config", "-c", script], { env: { ...process.env, HOME: tempDir("fish") } });
      expect(run.stderr).toBe("");
      return run.stdout
        .split("\n")
        .filter((each) => each !== "")
        .map((each) => each.split("\t")[0]!);
    };
    expect(offers("git-demo ").sort()).toEqual([
      "completion",
      "get",
      "help",
      "linger",
      "remote",
      "set",
      "shout",
      "version",
    ]);
    expect(offers("git-demo remote ").sort()).toEqual(["setup", "undo"]);
    expect(offers("git-demo --ns x get --read")).toEqual(["--read-from"]);
    expect(offers("git-demo get --read-from ")).toEqual(["local", "mirror"]);
    expect(offers("git demo completion z")).toEqual(["zsh"]);
    expect(offers("git-demo help sh")).toEqual(["shout"]);
  });

  test("in zsh", () => {
    const lines = [
      ["git-demo re", "git-demo remote "],
      ["git-demo remote un", "git-demo remote undo "],
      ["git-demo get --read", "git-demo get --read-from="],
      ["git-demo get --read-from=mi", "--read-from=mirror "],
      ["git-demo --ns x completion z", "completion zsh "],
      ["git-demo help sh", "help shout "],
      ["git-demo set k --me", "--message="],
    ] as const;
    const dir = tempDir("zsh");
    fs.writeFileSync(path.join(dir, "completion"), runProgram(DEMO, ["completion", "zsh"]).stdout);
    const setUp = `autoload -U compinit; compinit -u -d ${dir}/dump; source ${dir}/completion`;
    expect(typeInto("zsh -f -i", setUp, lines)).toEqual(lines.map(([, awaited]) => awaited));
  });
});
