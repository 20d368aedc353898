/** Large values with the compiled executables: from files, pipes and batches, to files and pipes, alone and through a Stargate. */

import { describe, expect, test } from "bun:test";
import * as fs from "node:fs";
import * as path from "node:path";
import { etagOf } from "../../src/kv/etag.ts";
import { executable, type Run, runProgram } from "../support/executable.ts";
import { git } from "../support/git.ts";
import { noise } from "../support/noise.ts";
import { ENV, kv, kvOk, Scene } from "../support/scene.ts";
import { tempDir } from "../support/temp.ts";

const MiB = 1024 * 1024;
const SLOW = 300_000;

function store(): string {
  const dir = tempDir("large");
  kvOk(dir, "init");
  return dir;
}

/** The value of `key` as it comes out of a pipe. */
function bytesOf(dir: string, ...args: string[]): Buffer {
  const run = runProgram(executable("git-kv"), ["get", ...args], { cwd: dir, env: ENV, encoding: "latin1" });
  expect(run.stderr).toBe("");
  return Buffer.from(run.stdout, "latin1");
}

/** Runs a shell script with `$KV` as the program. */
function shell(dir: string, script: string): Run {
  return runProgram("bash", ["-c", script], {
    cwd: dir,
    env: { ...ENV, KV: executable("git-kv") },
    encoding: "latin1",
  });
}

/** What is tried on a disk of 16 MiB, in the folder `disk`. */
const WITHOUT_ROOM = `
cd disk
"$KV" init >/dev/null 2>&1 && "$KV" set a 1 >/dev/null
before=$(git rev-parse refs/kv/main) files=$(ls -A .git/objects/pack)
"$KV" set k --file ../large >out 2>err
echo "set $? $(head -1 err)"
[ ! -s out ] && [ "$before" = "$(git rev-parse refs/kv/main)" ] && git fsck --strict >/dev/null 2>&1 && echo the ledger stays
[ "$files" = "$(ls -A .git/objects/pack)" ] && rm out && echo "files: $(ls | wc -w)"
"$KV" set k --file ../small >/dev/null && "$KV" get k | cmp - ../small && echo stored
if mountpoint -q .
then
  head -c 16M /dev/zero >fill 2>/dev/null
  "$KV" get k -o out 2>../err2
  echo "get $? $(head -1 ../err2)"
fi
ls -A | grep -w out
true
`;

const packFiles = (dir: string): string[] => fs.readdirSync(path.join(dir, ".git/objects/pack")).sort();

describe("in one repository", () => {
  const dir = store();
  const data = noise("one", 3 * MiB);
  fs.writeFileSync(path.join(dir, "one.bin"), data);

  test("a file, a pipe, a named pipe and a batch make the same value; its pieces are stored once", () => {
    const first = JSON.parse(kvOk(dir, "set", "file", "--file", "one.bin", "--json"));
    expect(first).toMatchObject({ rev: 1, bytes: { new: data.length, reused: 0 } });
    for (const script of [
      '"$KV" set pipe - --json < one.bin',
      'cat one.bin | "$KV" set pipe2 - --json',
      '"$KV" set named --file <(cat one.bin) --json',
      '"$KV" mset --json --file <(printf \'{"op":"set","key":"batch","file":"%s/one.bin"}\' "$PWD")',
    ]) {
      const run = shell(dir, script);
      expect([script, run.status, run.stderr]).toEqual([script, 0, ""]);
      expect(JSON.parse(run.stdout)).toMatchObject({ bytes: { new: 0, reused: data.length } });
    }
    for (const key of ["file", "pipe", "pipe2", "named", "batch"]) expect(bytesOf(dir, key).equals(data)).toBe(true);
    expect(JSON.parse(kvOk(dir, "set", "file", "--file", "one.bin", "--json"))).toMatchObject({ unchanged: true });
  });

  test("is written to files whole, and in parts", () => {
    kvOk(dir, "set", "small:x", "a small one");
    kvOk(dir, "get", "file", "-o", "out/file.bin");
    expect(fs.readFileSync(path.join(dir, "out/file.bin")).equals(data)).toBe(true);
    kvOk(dir, "get", "file", "small:x", "--output-dir", "many");
    expect(fs.readFileSync(path.join(dir, "many/file")).equals(data)).toBe(true);
    expect(fs.readFileSync(path.join(dir, "many/small%3Ax"), "utf8")).toBe("a small one");
    expect(bytesOf(dir, "file", "--range", "100000-299999").equals(data.subarray(100_000, 300_000))).toBe(true);
    expect(bytesOf(dir, "file", "--range", "-5").equals(data.subarray(-5))).toBe(true);
    expect(kvOk(dir, "get", "small:x", "--range", "2-6")).toBe("small");
    expect(kv(dir, "get", "file", "--range", "3145728-")).toMatchObject({ status: 4, stdout: "" });
    expect(kv(dir, "get", "file", "small:x", "--range", "0-1", "--json").status).toBe(64);
    expect(kv(dir, "get", "file", "small:x").status).toBe(64);
    expect(shell(dir, '"$KV" get file -o /dev/stdout | cmp - one.bin').status).toBe(0);
    expect(shell(dir, '"$KV" get file | head -c 10 >/dev/null').stderr).toBe("");
  });

  test("JSON, list --long and history say what it is", () => {
    const facts = { type: "chunked", size: data.length, etag: etagOf(data), rev: 1 };
    const record = JSON.parse(kvOk(dir, "get", "file", "--range", "0-3", "--json"));
    expect(record).toMatchObject({
      key: "file",
      ...facts,
      range: "0-3",
      value_b64: data.subarray(0, 4).toString("base64"),
    });
    expect(JSON.parse(kvOk(dir, "get", "file", "-o", "x.bin", "--json"))).toMatchObject({ file: "x.bin", ...facts });
    expect(Buffer.from(JSON.parse(kvOk(dir, "get", "file", "--json")).value_b64, "base64").equals(data)).toBe(true);
    const [size, type, rev, expires, etag, pieces, key] = kvOk(dir, "list", "--long", "--prefix", "file").split("\t");
    expect([size, type, rev, expires, etag, key]).toEqual([
      `${data.length}`,
      "chunked",
      "1",
      "-",
      etagOf(data),
      "file",
    ]);
    expect(Number(pieces)).toBe(record.pieces);
    expect(JSON.parse(kvOk(dir, "list", "--long", "--prefix", "file", "--json"))).toMatchObject({
      ...facts,
      pieces: record.pieces,
    });
    expect(kvOk(dir, "history", "file").split("\t").at(-1)).toBe(
      `3.1 MB in ${record.pieces} pieces, ${etagOf(data).slice(0, 19)}`,
    );
    fs.writeFileSync(path.join(dir, "huge"), "");
    fs.truncateSync(path.join(dir, "huge"), 17 * MiB);
    kvOk(dir, "set", "huge", "--file", "huge");
    const refused = kv(dir, "get", "huge", "--json");
    expect(refused.status).toBe(5);
    expect(JSON.parse(refused.stdout).error).toMatchObject({
      code: "LIMIT_EXCEEDED",
      hint: expect.stringContaining("--output"),
    });
  });

  test("what cannot be read is named, and nothing is written", () => {
    const before = [git(dir, "rev-parse", "refs/kv/main"), packFiles(dir)];
    fs.mkdirSync(path.join(dir, "folder"), { recursive: true });
    const cases: [args: string[], status: number, words: string][] = [
      [["--file", "folder"], 4, "folder is a folder, not a file"],
      [["--file", "absent"], 4, "cannot read absent"],
    ];
    for (const [args, status, words] of cases) {
      const run = kv(dir, "set", "k", ...args);
      expect([run.status, run.stderr]).toEqual([status, expect.stringContaining(words)]);
    }
    // Root may read everything.
    fs.writeFileSync(path.join(dir, "secret"), "", { mode: 0 });
    const asNobody = process.getuid?.() === 0 ? "setpriv --reuid=65534 --clear-groups" : "";
    const secret = shell(dir, `chmod 755 .; ${asNobody} "$KV" set k --file secret`);
    expect([secret.status, secret.stderr]).toEqual([4, expect.stringContaining("cannot read secret: EACCES")]);
    expect([git(dir, "rev-parse", "refs/kv/main"), packFiles(dir)]).toEqual(before);
  });

  test("a file that grows while it is read stops the write and leaves nothing", () => {
    const before = [git(dir, "rev-parse", "refs/kv/main"), packFiles(dir)];
    fs.writeFileSync(path.join(dir, "growing"), noise("growing", 20 * MiB));
    const run = shell(
      dir,
      'while kill -0 $$; do printf x; done >>growing & w=$!; until [ $(stat -c %s growing) -gt 20971520 ]; do :; done; "$KV" set k --file growing; r=$?; kill $w; exit $r',
    );
    expect([run.status, run.stdout, run.stderr]).toEqual([
      5,
      "",
      expect.stringContaining("/growing changed while it was read\n"),
    ]);
    expect([git(dir, "rev-parse", "refs/kv/main"), packFiles(dir)]).toEqual(before);
  });

  test("a disk that is full stops the write and leaves nothing", () => {
    const before = [git(dir, "rev-parse", "refs/kv/main"), packFiles(dir)];
    fs.writeFileSync(path.join(dir, "full.bin"), noise("full", 40 * MiB));
    const run = shell(dir, 'ulimit -f 20000; "$KV" set k --file full.bin');
    expect([run.status, run.stdout]).toEqual([5, ""]);
    expect(run.stderr).toStartWith("error: ");
    expect([git(dir, "rev-parse", "refs/kv/main"), packFiles(dir)]).toEqual(before);
    const into = shell(dir, 'ulimit -f 1000; "$KV" get file -o stays.bin');
    expect([into.status, into.stderr]).toEqual([5, expect.stringContaining("cannot write")]);
    expect(fs.readdirSync(dir).filter((name) => name.includes("stays"))).toEqual([]);
  });

  test("a file system without room (ENOSPC; a limit on files where none may be mounted): the same, and what fits is stored", () => {
    const place = tempDir("no-room");
    fs.writeFileSync(path.join(place, "large"), noise("large", 24 * MiB));
    fs.writeFileSync(path.join(place, "small"), noise("small", 2 * MiB));
    fs.mkdirSync(path.join(place, "disk"));
    fs.writeFileSync(path.join(place, "body.sh"), WITHOUT_ROOM);
    const run = shell(
      place,
      `if unshare -rm mount -t tmpfs none disk 2>/dev/null
       then unshare -rm bash -c 'mount -t tmpfs -o size=16m none disk && . ./body.sh'
       else ulimit -f 16000; . ./body.sh; fi`,
    );
    expect(run.stderr).toBe("");
    expect(run.stdout).toMatch(
      /^set 5 error: .+\nthe ledger stays\nfiles: 1\nstored\n(?:get 5 error: cannot write \S+\/out: .+\n)?$/,
    );
  });

  test("an interrupt while a pipe is read leaves nothing", () => {
    const before = [git(dir, "rev-parse", "refs/kv/main"), packFiles(dir)];
    // Reads what there is, then waits for more; the signal ends it.
    const run = shell(
      dir,
      'mkfifo p; exec 9<>p; "$KV" set k --file p & pid=$!; head -c 3000000 full.bin >&9; kill -INT $pid; wait $pid',
    );
    expect(run.status).toBe(130);
    expect([git(dir, "rev-parse", "refs/kv/main"), packFiles(dir)]).toEqual(before);
  });

  test("an interrupt ends a value that is being printed", () => {
    fs.writeFileSync(path.join(dir, "zeros"), "");
    fs.truncateSync(path.join(dir, "zeros"), 128 * MiB);
    kvOk(dir, "set", "zeros", "--file", "zeros");
    // Somebody has read its first byte when the signal comes; most of the rest is not made yet.
    const run = shell(
      dir,
      'mkfifo q; "$KV" get zeros >q & pid=$!; exec 8<q; head -c 1 <&8 >first; kill -INT $pid; wc -c <&8; wait $pid; echo $?',
    );
    const [rest, status] = run.stdout.trim().split("\n").map(Number);
    expect([status, run.stderr]).toEqual([130, "error: interrupted by SIGINT\n"]);
    expect(rest).toBeLessThan(128 * MiB - 1);
  });

  test("a damaged piece: exit 5, and not a byte of it or after it is printed", () => {
    const broken = tempDir("broken");
    git(broken, "init", "-q", "--bare", ".");
    git(
      dir,
      "push",
      "-q",
      broken,
      "refs/kv/*:refs/kv/*",
      "refs/kv-index/*:refs/kv-index/*",
      "refs/kv-chunks/*:refs/kv-chunks/*",
    );
    const manifest = JSON.parse(git(broken, "cat-file", "blob", "refs/kv/main:data/file.manifest.json"));
    const folder = path.join(broken, "objects/pack");
    for (const name of fs.readdirSync(folder).filter((each) => each.endsWith(".pack"))) {
      const pack = fs.readFileSync(path.join(folder, name));
      fs.rmSync(folder, { recursive: true });
      fs.mkdirSync(folder);
      expect(Bun.spawnSync(["git", "unpack-objects", "-q"], { cwd: broken, stdin: pack }).exitCode).toBe(0);
    }
    const loose = (oid: string): string => path.join(broken, "objects", oid.slice(0, 2), oid.slice(2));
    const [first, second, third] = manifest.chunks;
    fs.chmodSync(loose(second.oid), 0o644);
    fs.copyFileSync(loose(third.oid), loose(second.oid));
    const run = kvIn(broken, "get", "file");
    expect([run.status, run.stdout.length]).toEqual([5, first.size]);
    expect(run.stderr).toContain(`piece ${second.sha256.slice(0, 12)}`);
    expect(kvIn(broken, "get", "file", "-o", "out.bin").status).toBe(5);
    expect(fs.readdirSync(broken).filter((name) => name.includes("out.bin"))).toEqual([]);
    fs.rmSync(loose(second.oid));
    expect(kvIn(broken, "get", "file").stderr).toContain("is missing");
    expect(kvIn(broken, "get", "file", "--range", `0-${first.size - 1}`).status).toBe(0);
  });
});

function kvIn(dir: string, ...args: string[]): Run {
  return runProgram(executable("git-kv"), args, { cwd: dir, env: ENV, encoding: "latin1" });
}

test(
  "through a Stargate: pieces that are there are not sent again; another clone fetches them when it reads",
  async () => {
    const scene = await Scene.start();
    const [one, two] = [scene.clone("one"), scene.clone("two")];
    const data = noise("first", 4 * MiB);
    const file = path.join(scene.root, "value");
    fs.writeFileSync(file, data);
    expect(JSON.parse(kvOk(one, "set", "big", "--file", file, "--json")).bytes).toEqual({
      new: data.length,
      reused: 0,
    });
    expect(git(one, "for-each-ref", "refs/kv-chunks")).toBe("");
    expect(git(scene.repo, "for-each-ref", "--format=%(refname)", "refs/kv-chunks")).toBe("refs/kv-chunks/main@e1");
    const edited = Buffer.concat([data.subarray(0, 2 * MiB), Buffer.from("inserted"), data.subarray(2 * MiB)]);
    fs.writeFileSync(file, edited);
    // The other clone has none of the pieces and sends only what is new.
    const { bytes } = JSON.parse(kvOk(two, "set", "copy", "--file", file, "--json", "--wait"));
    expect(bytes.reused).toBeGreaterThan(MiB);
    expect(bytes.new + bytes.reused).toBe(edited.length);
    expect(bytesOf(two, "copy").equals(edited)).toBe(true);
    expect(bytesOf(two, "big").equals(data)).toBe(true);
    // What a git gc of everything leaves of the pieces is fetched again, from the mirror and where that is gone from the Stargate.
    const fresh = scene.clone("fresh");
    expect(bytesOf(fresh, "big", "--range", "5-9").equals(data.subarray(5, 10))).toBe(true);
    expect(bytesOf(fresh, "big").equals(data)).toBe(true);
    fs.renameSync(scene.github, `${scene.github}.away`);
    const last = path.join(scene.root, "last");
    git(scene.root, "init", "-q", "last");
    git(last, "remote", "add", "origin", scene.url);
    scene.giveToken(last);
    kvOk(last, "remote", "setup");
    git(last, "config", "remote.origin.pushurl", scene.url);
    git(last, "config", "remote.origin.url", scene.github);
    const away = kvIn(last, "get", "copy", "--read-from", "stargate");
    expect([away.status, away.stderr]).toEqual([0, ""]);
    expect(Buffer.from(away.stdout, "latin1").equals(edited)).toBe(true);
    expect(await scene.serving.stop("SIGTERM")).toBe(0);
  },
  SLOW,
);
