/** `snapshot` and `import` with the compiled executable: files, pipes, gzip, exit codes; through a Stargate as well. */

import { expect, test } from "bun:test";
import * as fs from "node:fs";
import * as path from "node:path";
import { gunzipSync } from "node:zlib";
import { Etcd } from "../support/etcd.ts";
import { executable, type Run, runProgram } from "../support/executable.ts";
import { fsck, git } from "../support/git.ts";
import { ENV, kv, kvOk, Scene } from "../support/scene.ts";
import { tempDir } from "../support/temp.ts";

const SLOW = 120_000;

function store(): string {
  const dir = tempDir("snapshot");
  kvOk(dir, "init");
  return dir;
}

function kvInput(dir: string, input: string | Buffer, ...args: string[]): Run {
  return runProgram(executable("git-kv"), args, { cwd: dir, env: ENV, input });
}

test(
  "out and in again: files, pipes, gzip, prefixes, a dry run, and input that is bad",
  () => {
    const one = store();
    kvOk(one, "set", "cfg:theme", "dark", "--label", "team=core");
    kvOk(one, "set", "cfg:old", "x", "--expires", "2020-01-01");
    kvInput(one, Buffer.from([0xff, 0x00]), "set", "bin", "-");
    expect(kv(one, "snapshot", "--export", "all.jsonl.gz")).toMatchObject({ status: 0, stdout: "" });
    const text = gunzipSync(fs.readFileSync(path.join(one, "all.jsonl.gz"))).toString();
    expect(kvOk(one, "snapshot", "--export", "-")).toBe(text.trimEnd());
    const keysOf = (snapshot: string): string[] =>
      snapshot.split("\n").flatMap((line) => JSON.parse(line || "{}").key ?? []);
    expect(keysOf(text)).toEqual(["bin", "cfg:theme"]);
    expect(keysOf(kvOk(one, "snapshot", "--export", "-", "--allow-expired", "--prefix", "cfg:"))).toEqual([
      "cfg:old",
      "cfg:theme",
    ]);
    expect(JSON.parse(kvOk(one, "snapshot", "--export", "some.jsonl", "--prefix", "b", "--json"))).toMatchObject({
      file: "some.jsonl",
      keys: 1,
      bytes: 2,
    });
    const two = store();
    const tip = git(two, "rev-parse", "refs/kv/main");
    const from = path.join(one, "all.jsonl.gz");
    expect(JSON.parse(kvOk(two, "import", from, "--dry-run", "--json"))).toEqual({
      dryRun: true,
      keys: 2,
      bytes: 6,
      transactions: 1,
    });
    expect(git(two, "rev-parse", "refs/kv/main")).toBe(tip);
    expect(kvInput(two, "{}", "import", "-").stderr).toStartWith(
      'error: the input has 1 bad entry\nline 1: "key" is missing\n',
    );
    expect(kvInput(two, text.slice(0, -30), "import", "-").status).toBe(4);
    expect(git(two, "rev-parse", "refs/kv/main")).toBe(tip);
    expect(JSON.parse(kvOk(two, "import", from, "--json"))).toMatchObject({
      keys: 2,
      set: 2,
      unchanged: 0,
      transactions: 1,
      seq: 2,
    });
    expect(git(two, "log", "-1", "--format=%s", "refs/kv/main")).toBe("import all.jsonl.gz");
    const read = JSON.parse(kvOk(two, "get", "cfg:theme", "--json"));
    expect(read).toMatchObject({ value: "dark", labels: { team: "core" } });
    const packed = fs.readFileSync(from);
    expect(
      JSON.parse(kvInput(two, packed, "import", "-", "--json", "--prefix", "copy:", "--batch", "1").stdout),
    ).toMatchObject({ set: 2, transactions: 2, seq: 4 });
    expect(kvOk(two, "list")).toBe("bin\ncfg:theme\ncopy:bin\ncopy:cfg:theme");
    expect(JSON.parse(kvOk(two, "import", from, "--json"))).toMatchObject({
      set: 0,
      unchanged: 2,
      transactions: 0,
      seq: 4,
    });
    kvInput(two, packed, "import", "-", "-m", "copies\n\nof all", "--prefix", "more:", "--batch", "1");
    expect(git(two, "log", "-1", "--format=%s%n%b", "refs/kv/main")).toStartWith("copies, part 2\nof all\n");
    const wrong: [string[], number][] = [
      [["snapshot"], 64],
      [["snapshot", "--export", "-", "--json"], 64],
      [["snapshot", "--export", "a", "--dir", "b"], 64],
      [["snapshot", "--dir", "b", "--format", "json"], 64],
      [["snapshot", "--export", "no/such/folder/x"], 5],
      [["import", "nothing.jsonl"], 4],
      [["import", from, "--if-absent", "--overwrite"], 64],
      [["import", from, "--batch", "0"], 64],
    ];
    for (const [args, status] of wrong) expect([args, kv(two, ...args).status]).toEqual([args, status]);
    expect(fsck(two)).toBe("notice: HEAD points to an unborn branch (main)");
  },
  SLOW,
);

test(
  "documents, variables and folders, by the names of the files",
  () => {
    const dir = store();
    fs.writeFileSync(path.join(dir, "app.yaml"), "db:\n  host: x\n  version: 1.10\n");
    expect(kvOk(dir, "import", "app.yaml", "--prefix", "app:", "--separator", "/")).toMatch(/^[0-9a-f]{40,64}$/);
    expect(kvOk(dir, "list")).toBe("app:db/host\napp:db/version");
    expect(kvOk(dir, "get", "app:db/version")).toBe("1.10");
    const only = ["--prefix", "app:", "--strip-prefix"];
    kvOk(dir, "snapshot", "--export", "nested.json", ...only, "--nested", "--separator", "/");
    expect(JSON.parse(fs.readFileSync(path.join(dir, "nested.json"), "utf8"))).toEqual({
      db: { host: "x", version: "1.10" },
    });
    kvOk(dir, "snapshot", "--dir", "out", ...only);
    expect(fs.readFileSync(path.join(dir, "out", "db", "host"), "utf8")).toBe("x");
    expect(JSON.parse(kvOk(dir, "import", "out", "--prefix", "app:", "--json"))).toMatchObject({
      keys: 2,
      unchanged: 2,
    });
    expect(kv(dir, "snapshot", "--dir", "out").status).toBe(4);
    fs.writeFileSync(path.join(dir, ".env"), 'export TOKEN="a b"\n');
    kvOk(dir, "import", ".env", "--prefix", "env:");
    expect(kvOk(dir, "snapshot", "--export", "-", "--format", "dotenv", "--prefix", "env:", "--strip-prefix")).toBe(
      "TOKEN='a b'",
    );
    // A state of the past: before the variable, before the map.
    expect(kvOk(dir, "snapshot", "--export", "-", "--at", "-1", "--format", "json", "--prefix", "env:")).toBe("{\n}");
    // Who could not read the file that is replaced cannot read the new one.
    fs.writeFileSync(path.join(dir, "secret.json"), "", { mode: 0o600 });
    kvOk(dir, "snapshot", "--export", "secret.json", ...only);
    kvOk(dir, "get", "app:db/host", "--output", "secret.json");
    expect(fs.statSync(path.join(dir, "secret.json")).mode & 0o777).toBe(0o600);
    // What cannot be written leaves no file behind, not even a part.
    const before = fs.readdirSync(dir).length;
    expect(kv(dir, "snapshot", "--export", "bad.env").stderr).toContain("cannot be a variable");
    kvOk(dir, "set", "app:db", "a key and a map");
    expect(kv(dir, "snapshot", "--export", "bad.json", "--nested", "--separator", "/").status).toBe(4);
    expect(kv(dir, "snapshot", "--dir", "bad", ...only).stderr).toContain(
      '"app:db/host" would be that of another key, or a folder',
    );
    // Of the range that is exported it is no part.
    kvOk(dir, "snapshot", "--export", "nested.json", "--prefix", "app:db/", "--nested", "--separator", "/");
    expect(kv(dir, "snapshot", "--export", "bad.json", "--nested", "--separator", "").status).toBe(4);
    for (const folder of ["no/such/folder", ".env/folder"]) {
      const { status, stderr } = kv(dir, "snapshot", "--dir", folder);
      expect([status, stderr]).toEqual([5, expect.stringContaining(`cannot write ${path.join(dir, folder)}: `)]);
    }
    expect(fs.readdirSync(dir)).toHaveLength(before);
    expect(kv(dir, "import", "out", "--format", "json").status).toBe(4);
    expect(kv(dir, "import", "app.yaml", "--format", "tar").status).toBe(64);
  },
  SLOW,
);

test(
  "a dry run says how many transactions the import makes, of large values too",
  () => {
    const dir = store();
    fs.mkdirSync(path.join(dir, "large"));
    for (const name of ["a", "b", "c"]) {
      fs.writeFileSync(path.join(dir, "large", name), name);
      fs.truncateSync(path.join(dir, "large", name), 150 * 1024 * 1024);
    }
    const { transactions } = JSON.parse(kvOk(dir, "import", "large", "--dry-run", "--json"));
    expect(transactions).toBe(2);
    expect(JSON.parse(kvOk(dir, "import", "large", "--json"))).toMatchObject({ set: 3, transactions });
    // The same where the values are spooled, and set in another order than they came in.
    const value = Buffer.alloc(7 * 1024 * 1024, "x").toString();
    const lines = Array.from({ length: 40 }, (_, i) =>
      JSON.stringify({ key: `k${i}`, value: i % 2 === 0 ? value : "small" }),
    );
    const many = [...lines, ...lines.map((line) => line.replace('"key":"k', '"key":"l'))].join("\n");
    fs.writeFileSync(path.join(dir, "many.jsonl"), many);
    const dry = JSON.parse(kvOk(dir, "import", "many.jsonl", "--batch", "50", "--dry-run", "--json"));
    const done = JSON.parse(kvOk(dir, "import", "many.jsonl", "--batch", "50", "--json"));
    expect([dry.transactions, done.set]).toEqual([done.transactions, 80]);
  },
  SLOW,
);

test(
  "an import that is interrupted says how much is done, and goes on from there",
  async () => {
    const dir = store();
    const count = 30_000;
    const input = Array.from({ length: count }, (_, i) => JSON.stringify({ key: `k${i}`, value: `${i}` })).join("\n");
    fs.writeFileSync(path.join(dir, "in.jsonl"), input);
    const running = Bun.spawn([executable("git-kv"), "import", "in.jsonl", "--batch", "1000"], {
      cwd: dir,
      env: ENV,
      stderr: "pipe",
    });
    const seq = (): number => Number(JSON.parse(kvOk(dir, "log", "--limit", "1", "--json")).seq);
    while (seq() < 3) {}
    running.kill("SIGINT");
    expect(await running.exited).toBe(130);
    const done = (seq() - 1) * 1_000;
    expect(await new Response(running.stderr).text()).toBe(
      `error: interrupted by SIGINT (after ${done} of ${count} keys were imported)\nhint: import it again: what is there already is not written twice\n`,
    );
    expect(JSON.parse(kvOk(dir, "import", "in.jsonl", "--json"))).toMatchObject({
      keys: count,
      set: count - done,
      unchanged: done,
    });
  },
  SLOW,
);

test(
  "what a format leaves behind is said",
  () => {
    const dir = store();
    kvOk(dir, "set", "plain", '{"json":1}');
    kvOk(dir, "set", "flagged", "v", "--label", "consul-flags=7");
    const said = (...args: string[]): string => kv(dir, "snapshot", "--json", ...args).stderr;
    expect(said("--export", "a.json", "--format", "consul")).toBe("");
    expect(said("--export", "a.jsonl")).toBe("");
    const what = "left behind of 1 key, as only the format jsonl has them";
    expect(said("--export", "a.yaml")).toBe(`warning: ${what}: labels (1)\n`);
    kvOk(dir, "set", "timed", "v", "--ttl", "1d", "--ctype", "text/css", "--label", "consul-flags=none");
    expect(said("--export", "a.json", "--format", "consul")).toBe(
      `warning: ${what}: expiry times (1), labels (1), media types (1)\n`,
    );
    expect(said("--dir", "folder")).toContain("left behind of 2 keys");
    expect(said("--export", "a.jsonl")).toBe("");
  },
  SLOW,
);

test(
  "a folder and back: every key that can be a file's path, and no other",
  () => {
    const one = store();
    const keys = [
      "a",
      "a.b/c",
      "ö/".repeat(50),
      "x".repeat(255),
      "語".repeat(85),
      " ",
      "-n",
      "con:1",
      "deep/.gitignore",
    ];
    const lines = keys.map((key, i) =>
      JSON.stringify({
        op: "set",
        key: key.replace(/\/$/, ""),
        value_b64: Buffer.from([i, 0, 255]).toString("base64"),
      }),
    );
    const large = Buffer.alloc(2_000_000, "0123456789abcdef-");
    kvInput(one, lines.join("\n"), "mset", "--file", "-");
    kvInput(one, large, "set", "large/value", "-");
    expect(JSON.parse(kvOk(one, "snapshot", "--dir", "out", "--json"))).toMatchObject({ dir: "out", keys: 10 });
    expect(fs.readFileSync(path.join(one, "out", "large", "value")).equals(large)).toBe(true);
    // The longest name a file can have is written to in the other way, too.
    kvOk(one, "get", "語".repeat(85), "-o", "語".repeat(85));
    expect(fs.readFileSync(path.join(one, "語".repeat(85)))).toEqual(Buffer.from([4, 0, 255]));
    const two = store();
    kvOk(two, "import", path.join(one, "out"));
    const valuesOf = (dir: string): string[] =>
      kvOk(dir, "list", "--long")
        .split("\n")
        .map((line) => line.split("\t").slice(-2).join("\t"));
    expect(valuesOf(two)).toEqual(valuesOf(one));
    expect(kvOk(two, "snapshot", "--export", "-", "--format", "etcd").split("\n").slice(1)).toEqual(
      kvOk(one, "snapshot", "--export", "-", "--format", "etcd").split("\n").slice(1),
    );
    for (const key of [
      "/a",
      "b//c",
      "../up",
      "x/.",
      "a/.git/config",
      ".git",
      "y".repeat(256),
      "a/b",
      `${"d/".repeat(101)}f`,
    ]) {
      const tree = git(one, "rev-parse", "refs/kv/main^{tree}");
      kvOk(one, "set", "--", key, "v");
      const { status, stderr } = kv(one, "snapshot", "--dir", "bad");
      expect([key, status, stderr]).toEqual([key, 4, expect.stringContaining(JSON.stringify(key))]);
      expect(fs.readdirSync(one).filter((name) => name.startsWith("bad"))).toEqual([]);
      kvOk(one, "del", "--", key);
      expect(git(one, "rev-parse", "refs/kv/main^{tree}")).toBe(tree);
    }
  },
  SLOW,
);

test(
  "to etcd and back: what etcdctl prints is imported, what is exported is what it prints",
  async () => {
    const dir = store();
    const etcd = await Etcd.start();
    try {
      const pairs: [string, string][] = [
        ["a", "1"],
        ["b/c", "two\nlines"],
        ["empty", ""],
        ["é 😀", "\u0001\u007f"],
      ];
      for (const [key, value] of pairs) etcd.ctl(["put", "--", key, value]);
      const lease = etcd.ctl(["lease", "grant", "600"]).match(/lease (\w+)/)![1]!;
      etcd.ctl(["put", `--lease=${lease}`, "--", "leased", "for a while"]);
      pairs.push(["leased", "for a while"]);
      const dump = etcd.ctl(["get", "--prefix", "", "-w", "json"]);
      const imported = kvInput(dir, dump, "import", "-", "--format", "etcd", "--json");
      expect(JSON.parse(imported.stdout)).toMatchObject({ keys: 5, set: 5 });
      expect(imported.stderr).toContain("leases of etcd are not taken over: 1 of 5 keys have one and will not expire");
      for (const [key, value] of pairs) expect(kv(dir, "get", key).stdout).toBe(value);
      const kvs = (text: string): object[] =>
        JSON.parse(text).kvs.map(({ key, value = "" }: { key: string; value?: string }) => ({ key, value }));
      expect(kvs(kvOk(dir, "snapshot", "--export", "-", "--format", "etcd"))).toEqual(kvs(dump));
    } finally {
      await etcd.stop();
    }
  },
  SLOW,
);

test(
  "an import through a Stargate, in transactions as large as the policy lets them be, and a snapshot of another clone",
  async () => {
    const policy = (url: string): string =>
      `version: 1\nstargate: { push_url: "${url}" }\nnamespaces: { "*": { max_keys_per_txn: 40, max_value_inline: 64KiB, max_value_total: 256KiB, allowed_prefixes: ["k:"] } }\n`;
    const scene = await Scene.start(undefined, { policy });
    try {
      const [one, two] = [scene.clone("one"), scene.clone("two")];
      const long = Buffer.alloc(200_000, "0123456789abcdef-").toString();
      const lines = Array.from({ length: 100 }, (_, i) =>
        JSON.stringify({ key: `k:${i}`, value: i === 50 ? long : `${i}` }),
      );
      const done = kvInput(one, lines.join("\n"), "import", "-", "--json");
      expect(done.stderr).toBe("imported 100 of 100 keys in 3 transactions; 0 are as they were\n");
      expect(JSON.parse(done.stdout)).toMatchObject({ keys: 100, set: 100, transactions: 3 });
      // What the policy would refuse is found before anything is written, whichever transaction it would be in.
      const refused = [
        ...lines.map((line) => line.replace('"value":"', '"value":"new ')),
        '{"key":"other","value":"v"}',
        JSON.stringify({ key: "k:large", value: "x".repeat(300_000) }),
      ].join("\n");
      for (const args of [[], ["--dry-run"]]) {
        const { status, stderr } = kvInput(one, refused, "import", "-", ...args);
        expect([status, stderr]).toEqual([
          4,
          [
            "error: the input has 2 bad entries",
            `line 101: "other" begins with none of the namespace's allowed_prefixes ("k:")`,
            'line 102: the value of "k:large" has 300000 bytes, at most 262144 are allowed (max_value_total)',
            "hint: nothing was written; 'git kv policy show' prints the policy in force\n",
          ].join("\n"),
        ]);
      }
      // The other clone has heard of nothing: what it would write is there already.
      expect(JSON.parse(kvInput(two, lines.join("\n"), "import", "-", "--json").stdout)).toMatchObject({
        set: 0,
        unchanged: 100,
      });
      // Its pieces are fetched as they are needed.
      const [header, ...rest] = kvOk(two, "snapshot", "--export", "-").split("\n");
      expect(JSON.parse(header!)).toMatchObject({ snapshot: 1, ns: "main" });
      const entries = rest.map((line) => JSON.parse(line));
      expect(entries.filter(({ key }) => key !== undefined)).toHaveLength(100);
      expect(entries.find(({ key }) => key === "k:50")).toMatchObject({ type: "chunked", parts: 1, size: 200_000 });
      expect(Buffer.from(entries.find(({ part }) => part === 1).value_b64, "base64").toString()).toBe(long);
      expect(fsck(scene.repo)).toBe("");
    } finally {
      await scene.serving.stop();
    }
  },
  SLOW,
);
