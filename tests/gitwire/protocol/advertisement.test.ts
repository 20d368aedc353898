import { expect, test } from "bun:test";
import * as fs from "node:fs";
import { SHA1, SHA256 } from "../../../src/gitwire/object/oid.ts";
import { type ByteSource, bytesSource } from "../../../src/gitwire/protocol/byte-stream.ts";
import {
  agentToken,
  capabilities,
  capabilityValue,
  encodeCapabilityAdvertisement,
  formatCapabilities,
  parseCapabilities,
} from "../../../src/gitwire/protocol/capabilities.ts";
import { PktReader, pktLine } from "../../../src/gitwire/protocol/pkt-line.ts";
import {
  encodeRefAdvertisement,
  encodeServiceLine,
  type Greeting,
  type RemoteRef,
  readGreeting,
} from "../../../src/gitwire/protocol/ref-advertisement.ts";
import { git, gitBytes, tryGit } from "../../support/git.ts";
import { random } from "../../support/random.ts";
import { codeOf, everyFlip, everyTruncation, splitSource } from "../../support/streams.ts";
import { tempDir } from "../../support/temp.ts";
import { OTHER_FORMAT, TEST_FORMAT } from "../../support/test-format.ts";

const greet = (source: ByteSource): Promise<Greeting> => readGreeting(new PktReader(source));

function sample(format: "sha1" | "sha256" = TEST_FORMAT.name): string {
  const dir = tempDir("advertise");
  git(dir, "init", "-q", "-b", "main", `--object-format=${format}`, ".");
  git(dir, "commit", "-q", "--allow-empty", "-m", "one");
  git(dir, "tag", "-a", "-m", "tag", "v1");
  git(dir, "update-ref", "refs/kv/main", "HEAD");
  return dir;
}

/** Refs as git itself lists them. */
function refsOf(dir: string): RemoteRef[] {
  const list = git(dir, "for-each-ref", "--format=%(objectname) %(*objectname) %(refname)");
  const refs = list.split("\n").map((line): RemoteRef => {
    const [oid = "", peeled = "", name = ""] = line.split(" ");
    return { name, oid, ...(peeled === "" ? {} : { peeled }) };
  });
  const head: RemoteRef = {
    name: "HEAD",
    oid: git(dir, "rev-parse", "HEAD"),
    symref: git(dir, "symbolic-ref", "HEAD"),
  };
  return [head, ...refs];
}

for (const format of [SHA1, SHA256]) {
  test(`reads what git upload-pack advertises, ${format.name}, v0 and v1`, async () => {
    const dir = sample(format.name);
    for (const version of [0, 1] as const) {
      const run = tryGit(dir, ["upload-pack", "--advertise-refs", "."], {
        env: { GIT_PROTOCOL: `version=${version}` },
      });
      const greeting = await greet(bytesSource(run.stdout));
      if (greeting.kind !== "refs") throw new Error("no refs");
      expect(greeting.version).toBe(version);
      expect(greeting.format).toBe(format);
      expect([...greeting.refs]).toEqual(refsOf(dir));
      expect(greeting.capabilities.has("multi_ack_detailed")).toBe(true);
      expect(capabilityValue(greeting.capabilities, "object-format")).toBe(format.name);
      // And encoding what was read gives git's own bytes.
      const bytes = Buffer.concat([...encodeRefAdvertisement(greeting)]);
      expect(bytes.toString()).toBe(run.stdout.toString());
    }
  });
}

test("reads git receive-pack: an empty repository, alternates, a shallow one", async () => {
  const empty = tempDir("empty");
  git(empty, "init", "-q", "--bare", ".");
  const bytes = gitBytes(empty, "receive-pack", "--http-backend-info-refs", ".");
  const greeting = await greet(bytesSource(bytes));
  if (greeting.kind !== "refs") throw new Error("no refs");
  expect([...greeting.refs]).toEqual([]);
  expect(greeting.capabilities.has("report-status-v2")).toBe(true);
  expect(Buffer.concat([...encodeRefAdvertisement(greeting)]).equals(bytes)).toBe(true);

  const source = sample();
  git(source, "commit", "-q", "--allow-empty", "-m", "two");
  const copy = tempDir("copy");
  git(copy, "clone", "-q", "--bare", "--shared", source, "c.git");
  git(`${copy}/c.git`, "update-ref", "-d", "refs/heads/main");
  const shared = await greet(bytesSource(gitBytes(`${copy}/c.git`, "receive-pack", "--http-backend-info-refs", ".")));
  if (shared.kind !== "refs") throw new Error("no refs");
  expect(shared.haves).toContain(git(source, "rev-parse", "main"));

  git(copy, "clone", "-q", "--bare", "--depth=1", `file://${source}`, "s.git");
  const shallow = await greet(bytesSource(gitBytes(`${copy}/s.git`, "upload-pack", "--http-backend-info-refs", ".")));
  if (shallow.kind !== "refs") throw new Error("no refs");
  expect(shallow.shallow).toEqual([git(source, "rev-parse", "main")]);
});

test("reads git's v2 advertisement and writes the same bytes", async () => {
  const dir = sample("sha256");
  const run = tryGit(dir, ["upload-pack", "--http-backend-info-refs", "."], { env: { GIT_PROTOCOL: "version=2" } });
  const greeting = await greet(bytesSource(run.stdout));
  if (greeting.kind !== "capabilities") throw new Error("no capabilities");
  expect(greeting.format).toBe(SHA256);
  expect(capabilityValue(greeting.capabilities, "fetch")).toContain("wait-for-done");
  expect(encodeCapabilityAdvertisement(greeting.capabilities).toString()).toBe(run.stdout.toString());
});

test("an advertisement reads the same however it is split, over HTTP too", async () => {
  const rnd = random("advertisement");
  const oid = (): string => rnd.bytes(TEST_FORMAT.rawSize).toString("hex");
  for (let round = 0; round < 25; round++) {
    const refs: RemoteRef[] = Array.from({ length: rnd.int(2_000) }, (_, i) => ({
      name: `refs/${rnd.pick(["heads", "tags", "kv"])}/é${i}`,
      oid: oid(),
      ...(rnd.int(3) === 0 ? { peeled: oid() } : {}),
    }));
    const sent = {
      version: rnd.pick([0, 1] as const),
      format: TEST_FORMAT,
      capabilities: capabilities(
        ["atomic"],
        ["object-format", TEST_FORMAT.name],
        ["agent", "git-kv/1"],
        ["symref", ["A:B", "HEAD:refs/heads/x"]],
      ),
      refs,
      shallow: Array.from({ length: rnd.int(3) }, oid),
    };
    const bytes = Buffer.concat([encodeServiceLine("git-upload-pack"), ...encodeRefAdvertisement(sent)]);
    const got = await greet(splitSource(rnd.int(2) === 0 ? bytes : bytes.subarray(bytes.indexOf("0000") + 4), rnd));
    if (got.kind !== "refs") throw new Error("no refs");
    expect({ ...got, refs: [...got.refs] }).toEqual({ kind: "refs", haves: [], ...sent });
    expect(got.refs.length).toBe(refs.length);
    const one = refs.length > 0 ? rnd.pick(refs) : undefined;
    expect(got.refs.find(one?.name ?? "refs/none")).toEqual(one);
  }
});

test("cut anywhere it is a broken connection; a flipped byte never an untyped error", async () => {
  const dir = sample();
  for (const version of [0, 2]) {
    const env = { GIT_PROTOCOL: `version=${version}` };
    const bytes = tryGit(dir, ["upload-pack", "--http-backend-info-refs", "."], { env }).stdout;
    await everyTruncation(bytes, greet, ["NETWORK"]);
    expect(await everyFlip(bytes, greet)).toBeGreaterThan(bytes.length / 4);
  }
});

test("hostile and odd advertisements", async () => {
  const a = "a".repeat(TEST_FORMAT.hexSize);
  const caps = `object-format=${TEST_FORMAT.name}`;
  const from = (...lines: string[]): Promise<string> =>
    codeOf(() => greet(bytesSource(Buffer.concat([...lines.map((line) => pktLine(line)), Buffer.from("0000")]))));
  expect(await from(`${a} refs/heads/x\0${caps}\n`)).toBe("no error");
  expect(await from("ERR access denied\n")).toBe("REMOTE_REJECTED");
  expect(await from(`${a} refs/heads/x\0object-format=md5\n`)).toBe("UNSUPPORTED");
  expect(await from(`${a} refs/heads/x\0object-format=${OTHER_FORMAT.name}\n`)).toBe("PROTOCOL");
  expect(await from(`${a} refs/heads/x\0${caps}\n`, `${a} refs/heads/y^{}\n`)).toBe("PROTOCOL");
  expect(await from(`${a} \0${caps}\n`)).toBe("PROTOCOL");
  expect(await from(`${"A".repeat(TEST_FORMAT.hexSize)} refs/heads/x\0${caps}\n`)).toBe("PROTOCOL");
  expect(await from(`${a} ${"x".repeat(5_000)}\0${caps}\n`)).toBe("PROTOCOL");
  expect(await from("version 3\n")).toBe("UNSUPPORTED");
  expect(await from("# service=git-upload-pack\n", `${a} refs/heads/x\0${caps}\n`)).toBe("PROTOCOL");
});

test("a ref whose name is not UTF-8 is left out, the rest stays", async () => {
  const dir = sample();
  const id = git(dir, "rev-parse", "HEAD");
  fs.writeFileSync(Buffer.concat([Buffer.from(`${dir}/.git/refs/heads/b`), Buffer.from([0xff])]), `${id}\n`);
  const greeting = await greet(bytesSource(gitBytes(dir, "upload-pack", "--http-backend-info-refs", ".")));
  if (greeting.kind !== "refs") throw new Error("no refs");
  expect(Array.from(greeting.refs, ({ name }) => name)).toEqual([
    "HEAD",
    "refs/heads/main",
    "refs/kv/main",
    "refs/tags/v1",
  ]);
});

test("capability lists", () => {
  const list = parseCapabilities("  atomic symref=HEAD:refs/heads/main symref=A:B=C  agent=git/2.39 empty= ");
  expect([...list]).toEqual([
    ["atomic", []],
    ["symref", ["HEAD:refs/heads/main", "A:B=C"]],
    ["agent", ["git/2.39"]],
    ["empty", [""]],
  ]);
  expect(formatCapabilities(list)).toBe("atomic symref=HEAD:refs/heads/main symref=A:B=C agent=git/2.39 empty=");
  expect(agentToken("git kv\n1")).toBe("git.kv.1");
});
