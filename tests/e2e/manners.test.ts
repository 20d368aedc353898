/** What every command of both programs owes whoever calls it: answers on stdout, the rest on stderr, and a status that is true. */

import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import * as fs from "node:fs";
import * as path from "node:path";
import { PROGRAM as KV } from "../../src/commands/table.ts";
import { PROGRAM as STARGATE } from "../../src/stargate/commands/table.ts";
import { executable, type Run, runProgram } from "../support/executable.ts";
import { ENV, kvOk, Scene } from "../support/scene.ts";
import { tempDir } from "../support/temp.ts";
import { quote } from "../support/typed-shell.ts";

interface Row {
  /** Arguments; `n` counts the runs. */
  readonly args: (n: number) => readonly string[];
  readonly status: number;
  /** Whether something comes on stdout. */
  readonly answers: boolean;
}

const row = (args: string | ((n: number) => string), status = 0, answers = status === 0): Row => ({
  args: (n) => (typeof args === "string" ? args : args(n)).split(" ").filter((word) => word !== ""),
  status,
  answers,
});

/** Every command as it is run in a clone that is set up with a token of scope write. */
const KV_ROWS: Readonly<Record<string, Row>> = {
  init: row(""),
  clone: row((n) => `../github.git ../clone-${n} --no-setup`, 0, false),
  "remote setup": row(""),
  get: row("k"),
  set: row((n) => `k ${n}`),
  del: row("gone --ignore-missing"),
  mset: row("--file batch.jsonl"),
  "cas set": row("k v --expect-blob 0 --expect-tree 0", 4),
  revert: row("1", 2),
  list: row(""),
  snapshot: row("--export -"),
  import: row("all.jsonl"),
  history: row("k"),
  log: row(""),
  diff: row("1"),
  verify: row(""),
  "epoch new": row("--label e2", 3),
  "epoch list": row(""),
  compact: row("--dry-run"),
  "policy check": row("bad.yaml", 4, true),
  "policy show": row(""),
  "policy apply": row("bad.yaml", 4),
  "policy schema": row(""),
  fetch: row("", 0, false),
  wait: row("--oid 0", 4),
  watch: row("--since 0"),
  serve: row("--listen nowhere", 4),
  "stargate status": row(""),
  "stargate sync": row(""),
  doctor: row("--offline"),
  help: row("set"),
  version: row(""),
  completion: row("fish"),
};

/** The same of the operator's program, beside the repository. */
const STARGATE_ROWS: Readonly<Record<string, Row>> = {
  init: row((n) => `--repo lone-${n}.git --mirror-remote github.git`),
  serve: row("--repo kv.git --listen nowhere", 5),
  shell: row("", 3),
  "authorized-keys": row("--repo kv.git", 0, false),
  "receive-pack": row("none.git", 5),
  "upload-pack": row("none.git", 5),
  status: row("--repo kv.git"),
  log: row("--repo kv.git"),
  sync: row("--repo kv.git"),
  fsck: row("--repo kv.git"),
  backup: row("--repo kv.git --to backups"),
  restore: row("--from backups --check"),
  "token add": row((n) => `--repo kv.git --name t${n}`),
  "token list": row("--repo kv.git"),
  "token revoke": row("--repo kv.git nobody", 4),
  help: row("status"),
  version: row(""),
  completion: row("zsh"),
};

const lines = (text: string): string[] => text.split("\n").filter((line) => line !== "");

let scene: Scene;
let work: string;
let runs = 0;

beforeAll(async () => {
  scene = await Scene.start();
  work = scene.clone("work");
  kvOk(work, "set", "k", "v");
  fs.writeFileSync(path.join(work, "batch.jsonl"), '{"op":"set","key":"m","value":1}\n');
  fs.writeFileSync(path.join(work, "all.jsonl"), kvOk(work, "snapshot", "--export", "-"));
  fs.writeFileSync(path.join(work, "bad.yaml"), "version: 2\n");
});
afterAll(() => scene.serving.stop());

const PROGRAMS = [
  { program: KV, rows: KV_ROWS, place: () => work },
  { program: STARGATE, rows: STARGATE_ROWS, place: () => scene.root },
] as const;

for (const { program, rows, place } of PROGRAMS) {
  describe(`every command of ${program.name}`, () => {
    const file = executable(program.name as "git-kv");
    /** Holds what `is` makes of each run to what `should` be. */
    const each = (is: (row: Row, args: string[]) => { readonly is: unknown; readonly should: unknown }): void => {
      const all = Object.entries(rows).map(([name, one]) => ({
        name,
        ...is(one, [...name.split(" "), ...one.args(runs++)]),
      }));
      expect(all.map(({ name, is }) => [name, is])).toEqual(all.map(({ name, should }) => [name, should]));
    };

    test("is in the table", () => {
      const names = program.commands.filter(({ hidden }) => !hidden).map(({ name }) => name);
      expect(Object.keys(rows).sort()).toEqual([...names].sort());
    });

    test("says nothing but its answer and its error with --quiet", () => {
      each(({ status, answers }, args) => {
        const run = runProgram(file, [...args, "--quiet"], { cwd: place(), env: ENV, input: "" });
        const stderr = status === 0 || answers ? "" : expect.stringMatching(/^error: /);
        return { is: [run.status, run.stdout !== "", run.stderr], should: [status, answers, stderr] };
      });
    }, 120_000);

    test("does not end with 0 where its answer could not be written", () => {
      each(({ status, answers }, args) => {
        const line = [file, ...args].map(quote).join(" ");
        const run = runProgram("bash", ["-c", `exec ${line} >/dev/full`], { cwd: place(), env: ENV, input: "" });
        const stderr = expect.stringContaining(answers ? "error: cannot write the answer: ENOSPC" : "");
        return { is: [run.status, run.stderr], should: [answers ? 5 : status, stderr] };
      });
    }, 120_000);

    test("answers --json with objects alone, its error too", () => {
      const empty = tempDir("empty");
      each((_, args) => {
        const { status, stdout, stderr } = runProgram(file, [...args, "--json"], { cwd: empty, env: ENV, input: "" });
        const errors = lines(stdout).flatMap((line) => (JSON.parse(line) as { error?: object }).error ?? []);
        const error = expect.objectContaining({ exit: status, message: expect.any(String) });
        return { is: [errors, status === 0 || stderr], should: status === 0 ? [[], true] : [[error], ""] };
      });
    }, 120_000);
  });
}

/** Runs a line of shell in `dir`; `$KV` is the program. */
function shell(dir: string, script: string, env: NodeJS.ProcessEnv = {}): Run {
  return runProgram("bash", ["-c", script], { cwd: dir, env: { ...ENV, KV: executable("git-kv"), ...env } });
}

test("--debug shows where an error comes from, on stderr, and GIT_KV_TRACE what is done, without keys and values", () => {
  const run = shell(work, '"$KV" get none --json --debug');
  expect([run.status, lines(run.stdout).length]).toEqual([6, 1]);
  expect(run.stderr).toMatch(/^KvError: not found: "none"\n {4}at /);
  const traced = shell(work, '"$KV" set secret-key secret-value', { GIT_KV_TRACE: "2", GIT_KV_TRACE_PACKET: "0" });
  expect(traced.status).toBe(0);
  expect(traced.stderr).toMatch(/^\d\d:\d\d:\d\d\.\d{6} git-kv +perf: set: exit 0; /m);
  expect(traced.stderr).not.toContain("secret");
});

describe("surroundings", () => {
  test("closed descriptors are as empty ones", () => {
    const run = shell(
      work,
      '"$KV" set closed - <&- && "$KV" get closed && "$KV" get none 2>&-; echo $?; "$KV" list >&-; echo $?',
    );
    expect(run.stdout.split("\n").slice(1)).toEqual(["6", "0", ""]);
  });

  test("no home, no locale, and a folder with blanks and umlauts", () => {
    const dir = path.join(tempDir("odd"), "a b'ü\"$x");
    fs.mkdirSync(dir);
    const env = { PATH: ENV.PATH, LANG: "C", LC_ALL: "C" };
    const kv = (...args: string[]): Run => runProgram(executable("git-kv"), args, { cwd: dir, env });
    expect(kv("init", "-q").status).toBe(0);
    expect(kv("set", "schlüssel", "wert ü").status).toBe(0);
    expect(kv("get", "schlüssel")).toMatchObject({ status: 0, stdout: "wert ü" });
    expect(kv("snapshot", "--export", "ö.jsonl")).toMatchObject({
      status: 0,
      stderr: "exported 1 key of transaction 2\n",
    });
    expect(kv("verify")).toMatchObject({ status: 0, stdout: expect.stringContaining("no findings") });
  });

  test("a folder whose name is not UTF-8 is said to be one, and is no trouble where it does not matter", () => {
    const script = `d=$(printf 'a\\xff\\xe9b'); mkdir "$d"; cd "$d"; "$KV" version && "$KV" help get && "$KV" -C ${quote(work)} get k; "$KV" get k; echo $?`;
    const run = shell(tempDir("bytes"), script);
    expect(run.stderr).toMatch(/^error: the path of this folder is not UTF-8: .*\nhint: .*\n$/);
    expect(run.stdout).toMatch(/^git-kv .*\nusage: git kv get [\s\S]*\nv5\n$/);
  });
});

describe("on a terminal", () => {
  /** What `script` (a pseudo terminal for stdin, stdout and stderr) shows. */
  const shown = (line: string, env: NodeJS.ProcessEnv = {}): string =>
    shell(work, `script -qec ${quote(line)} /dev/null`, { TERM: "xterm", ...env }).stdout;

  test("errors are coloured, but not with NO_COLOR, --no-color or TERM=dumb", () => {
    const plain = 'error: not found: "none"\r\n';
    expect(shown('"$KV" get none')).toBe('\x1b[1;31merror:\x1b[0m not found: "none"\r\n');
    expect(shown('"$KV" get none --no-color')).toBe(plain);
    expect(shown('"$KV" get none', { NO_COLOR: "1" })).toBe(plain);
    expect(shown('"$KV" get none', { TERM: "dumb" })).toBe(plain);
  });

  test("progress is taken back by an escape, where the terminal knows none by spaces", () => {
    const from = JSON.stringify(path.join(import.meta.dir, "../../src/cli/output.ts"));
    const options = "{ json: false, quiet: false, debug: false, noColor: false, env: process.env }";
    // Nothing is shown in the first half second.
    const program = `import { Output } from ${from}; const out = new Output(${options});
      await Bun.sleep(600); out.progress("half"); out.progress("");`;
    fs.writeFileSync(path.join(work, "progress.ts"), program);
    const line = `${quote(process.execPath)} progress.ts`;
    expect(shown(line)).toBe("half\r\x1b[K");
    expect(shown(line, { TERM: "dumb" })).toBe("half\r    \r");
  });

  test("a key that would drive it is shown, and printed as it is elsewhere", () => {
    kvOk(work, "set", "csi:\u009b31m", "v");
    for (const args of ["list --prefix csi", "list --prefix csi --long", "diff -1", "watch --since 0 --prefix csi"]) {
      expect([args, shown(`"$KV" ${args}`)]).toEqual([args, expect.stringMatching(/csi:\\x9b31m\r\n$/)]);
      expect([args, kvOk(work, ...args.split(" "))]).toEqual([args, expect.stringMatching(/csi:\u009b31m$/)]);
    }
  });

  test("whoever is to type is told so", () => {
    expect(shown('"$KV" set typed - --no-color')).toMatch(
      /^(\^D\x08\x08)?hint: this is read from the terminal; Ctrl-D ends it\r\n[0-9a-f]+\r\n$/,
    );
    expect(shell(work, '"$KV" set typed - </dev/null').stderr).not.toContain("hint");
  });

  test("a value is followed by a newline there, unless --raw forbids", () => {
    fs.writeFileSync(path.join(work, "value"), "no newline");
    kvOk(work, "set", "file", "--file", "value");
    expect([shown('"$KV" get file'), shown('"$KV" get file --raw')]).toEqual(["no newline\r\n", "no newline"]);
  });

  test("what takes longer than half a second shows how far it is, and takes that away; what does not shows nothing", () => {
    const slowly = '(head -c 3000000 /dev/zero; sleep 0.8; head -c 3000000 /dev/zero) | "$KV" set slow - -m m';
    expect(shown(slowly)).toMatch(
      /^storing: [^\r\n]+\/s[^\r\n]*\r\x1b\[K([^\r\n]+\r\x1b\[K)*[0-9a-f]{40,64}\r\n.* new, .* reused\r\n$/,
    );
    expect(shown(`${slowly} --quiet`)).toMatch(/^[0-9a-f]{40,64}\r\n$/);
    // Not on a terminal: not a word of it.
    expect(shell(work, slowly).stderr).not.toMatch(/storing|\r/);
    expect(shown('"$KV" set quick v')).toMatch(/^[0-9a-f]{40,64}\r\n$/);
  });
});
