/**
 * One request given to git's own server and to ours, and the two answers in words that can be compared. Requests are raw: each line
 * is a packet, with `$name` for the id of an object of the scene.
 */

import { expect, test } from "bun:test";
import { spawnSync } from "node:child_process";
import * as fs from "node:fs";
import { KvError } from "../../src/errors.ts";
import type { Oid } from "../../src/gitwire/object/oid.ts";
import { DELIM, FLUSH, pktLine } from "../../src/gitwire/protocol/pkt-line.ts";
import { encodeServiceLine } from "../../src/gitwire/protocol/ref-advertisement.ts";
import { repositoryUploadHost } from "../../src/gitwire/protocol/upload-pack-host.ts";
import { openRepository } from "../../src/gitwire/repo.ts";
import { git, gitInput } from "./git.ts";
import { packOf } from "./hand-pack.ts";
import { type Served, serveReceivePack, serveUploadPack } from "./sessions.ts";
import { tempDir } from "./temp.ts";
import { TEST_FORMAT } from "./test-format.ts";

/** What a server answered. */
interface Answer {
  /**
   * Its packets as texts, a report or a pack inside a sideband as if there were none: `0000` and `0001`, `PACK of N`. Ids
   * have the names of {@link Scene.oids}.
   */
  readonly packets: readonly string[];
  /** Lines shown to the person at the other end (band 2). */
  readonly progress: readonly string[];
  /** The fatal error: band 3, or an ERR packet. */
  readonly fatal: string;
  /** Whether the server ended with an error. */
  readonly failed: boolean;
  /** git: its standard error. Ours: what the session was rejected with. */
  readonly local: string;
  /** HEAD and the refs afterwards. */
  readonly refs: readonly string[];
}

interface Scene {
  /** A bare repository: main is at `b`, side and the annotated tag v1 (`t`) at its parent `a`. */
  readonly server: string;
  /** Has more: `c` on top of `b`, and `d`, which has no parent. */
  readonly client: string;
  /** `0` is the zero id, `n` one of nothing; `file` and `tree` those of `b`; `cfile` is in `c` alone. */
  readonly oids: Readonly<Record<string, Oid>>;
}

let made: Scene | undefined;

/** The scene that every case begins with; it is copied, never changed. Temporary folders last as long as a file's tests. */
export function scene(): Scene {
  if (made === undefined || !fs.existsSync(made.server)) made = makeScene();
  return made;
}

function makeScene(): Scene {
  const dir = tempDir("verdicts");
  const [server, client] = [`${dir}/server.git`, `${dir}/client.git`];
  git(dir, "init", "-q", "--bare", "--template=", "-b", "main", client);
  const write = (text: string): Oid => gitInput(client, text, "hash-object", "-w", "--stdin");
  const treeOf = (file: Oid): Oid => gitInput(client, `100644 blob ${file}\tfile\n`, "mktree");
  const commit = (tree: Oid, ...more: string[]): Oid => git(client, "commit-tree", ...more, tree);
  const a = commit(treeOf(write("a\n")), "-m", "a");
  const file = write("b\n");
  const tree = treeOf(file);
  const b = commit(tree, "-p", a, "-m", "b");
  const cfile = write("c\n");
  const c = commit(treeOf(cfile), "-p", b, "-m", "c");
  const d = commit(treeOf(write("d\n")), "-m", "d");
  for (const [ref, oid] of [
    ["refs/heads/main", b],
    ["refs/heads/side", a],
  ] as const)
    git(client, "update-ref", ref, oid);
  git(client, "tag", "-a", "-m", "t", "v1", a);
  const t = git(client, "rev-parse", "v1");
  git(dir, "clone", "-q", "--bare", "--no-local", "--template=", client, server);
  git(server, "remote", "remove", "origin");
  git(server, "config", "gc.auto", "0");
  git(client, "update-ref", "refs/heads/c", c);
  git(client, "update-ref", "refs/heads/d", d);
  const oids = { a, b, c, d, t, file, tree, cfile, n: "1".repeat(TEST_FORMAT.hexSize), "0": TEST_FORMAT.zeroOid };
  return { server, client, oids };
}

/** A copy of the scene's server, `config` set in it (`name=value`), and changed by `change`. */
export function serverWith(config: readonly string[] = [], change?: (dir: string) => void): string {
  const dir = `${tempDir("twin")}/server.git`;
  fs.cpSync(scene().server, dir, { recursive: true });
  fs.appendFileSync(`${dir}/config`, config.map(configLines).join(""));
  change?.(dir);
  return dir;
}

function configLines(setting: string): string {
  const [, section, subsection, key, value] = /^([^.=]+)(?:\.([^=]*))?\.([^.=]+)=(.*)$/.exec(setting)!;
  return `[${section}${subsection === undefined ? "" : ` "${subsection}"`}]\n\t${key} = "${value}"\n`;
}

/** `text` with the names of the scene's objects replaced by their ids, where they are words of their own behind a `$`. */
export function withIds(text: string): string {
  return text.replace(/\$(\w+)/g, (word, name: string) => scene().oids[name] ?? word);
}

/** The pack of what `revisions` reach, written with names (`$c`, `^$b`). */
export function packFor(revisions: readonly string[], ...flags: string[]): Buffer {
  return packOf(scene().client, revisions.map(withIds), ...flags);
}

/** Packets of texts with names; `0000` and `0001` are what they are, and bytes go as they are. */
export function packets(...lines: readonly (string | Buffer)[]): Buffer {
  return Buffer.concat(
    lines.map((line) => {
      if (typeof line !== "string") return line;
      if (line === "0000") return FLUSH;
      return line === "0001" ? DELIM : pktLine(withIds(line));
    }),
  );
}

type Program = "receive-pack" | "upload-pack";

interface Ask {
  readonly program: Program;
  readonly input: Buffer;
  /** GIT_PROTOCOL, the version. */
  readonly version?: 0 | 1 | 2;
  /** A connection, which begins with the advertisement, or only that; otherwise one request of HTTP. */
  readonly advertise?: "only" | "skip" | "both";
}

/** What git answers. */
function gitAnswer(dir: string, { program, input, version = 0, advertise = "skip" }: Ask): Answer {
  const flags = { only: ["--http-backend-info-refs"], skip: ["--stateless-rpc"], both: [] }[advertise];
  const run = spawnSync("git", [program, ...flags, "."], {
    cwd: dir,
    input,
    env: { ...process.env, ...(version > 0 && { GIT_PROTOCOL: `version=${version}` }) },
  });
  return answerOf(run.stdout, run.status !== 0, run.stderr.toString(), dir);
}

/** What we answer, with git's own defaults. */
async function ourAnswer(dir: string, { program, input, version = 0, advertise = "skip" }: Ask): Promise<Answer> {
  const repo = openRepository(dir);
  const options = { advertise, stateless: advertise !== "both" };
  let served: Served;
  try {
    if (program === "receive-pack") {
      served = await serveReceivePack(repo, input, { ...options, version: version === 1 ? 1 : 0 });
    } else {
      served = await serveUploadPack(repo, input, { ...options, version, host: repositoryUploadHost(repo, false) });
    }
  } catch (error) {
    // The session did not begin.
    served = { output: Buffer.alloc(0), error };
  } finally {
    repo.close();
  }
  const { output, error } = served;
  const local = error === undefined ? "" : error instanceof KvError ? `${error.code}: ${error.message}` : String(error);
  // Git's program leaves the line before it to the one that calls it.
  const line = advertise === "only" && version !== 2 ? encodeServiceLine(`git-${program}`).length : 0;
  return answerOf(output.subarray(line), error !== undefined, local, dir);
}

function answerOf(output: Buffer, failed: boolean, local: string, dir: string): Answer {
  const read = new AnswerReader();
  read.take(output);
  const name = (text: string): string => named(text.replaceAll(dir, "DIR"));
  return {
    packets: read.packets.map(name),
    progress: name(read.progress.toString())
      .split(/[\r\n]+/)
      .filter((line) => line !== ""),
    fatal: name(read.fatal.trim()),
    failed,
    local: name(local.trim()),
    refs: refsOf(dir),
  };
}

/** Replaces ids by their names. */
function named(text: string): string {
  const { oids } = scene();
  const names = new Map(Object.entries(oids).map(([key, oid]) => [oid, `$${key}`]));
  return text.replace(new RegExp(`\\b[0-9a-f]{${TEST_FORMAT.hexSize}}\\b`, "g"), (oid) => names.get(oid) ?? "$other");
}

class AnswerReader {
  readonly packets: string[] = [];
  progress = Buffer.alloc(0);
  fatal = "";
  #data: Buffer | undefined;

  take(bytes: Buffer): void {
    let at = 0;
    for (; at < bytes.length && bytes.latin1Slice(at, at + 4) !== "PACK"; ) {
      const length = Number.parseInt(bytes.latin1Slice(at, at + 4), 16);
      if (Number.isNaN(length)) throw new Error(`no packet: ${bytes.latin1Slice(at, at + 80)}`);
      this.#packet(length, bytes.subarray(at + 4, at + length));
      at += Math.max(4, length);
    }
    this.#endData();
    if (at < bytes.length) this.packets.push(`PACK of ${bytes.readUInt32BE(at + 8)}`);
  }

  #packet(length: number, data: Buffer): void {
    const band = length > 4 ? data[0]! : 0;
    if (band === 1) this.#data = Buffer.concat([this.#data ?? Buffer.alloc(0), data.subarray(1)]);
    else if (band === 2) this.progress = Buffer.concat([this.progress, data.subarray(1)]);
    else if (band === 3) this.fatal += data.toString("utf8", 1);
    else {
      this.#endData();
      const text = length < 4 ? `000${length}` : data.toString().replace(/\n$/, "");
      if (text.startsWith("ERR ")) this.fatal += text.slice(4);
      else this.packets.push(text);
    }
  }

  /** What was in band 1: a pack, or packets. */
  #endData(): void {
    const data = this.#data;
    this.#data = undefined;
    if (data === undefined || data.length === 0) return;
    this.take(data);
  }
}

/** A request, and in what the two answers may differ. */
export interface Verdict {
  readonly name: string;
  readonly lines: readonly (string | Buffer)[];
  readonly config?: readonly string[];
  readonly change?: (dir: string) => void;
  readonly version?: 0 | 1 | 2;
  readonly advertise?: Ask["advertise"];
  /** What is taken away from both answers before they are compared, and why. */
  readonly but?: Exemption;
  /** Why we answer otherwise, and all that we answer. */
  readonly ours?: readonly [why: string, ...words: string[]];
}

export interface Exemption {
  readonly why: string;
  readonly from: (words: readonly string[]) => readonly string[];
}

/** A test for each request. What is exempted must be there: an exemption that is not needed any more fails. */
export function verdictTests(program: Program, verdicts: readonly Verdict[]): void {
  for (const { name, lines, config, change, version = 0, advertise = "skip", but, ours } of verdicts) {
    test(name, async () => {
      const isAsItIs = program === "upload-pack" && config === undefined && change === undefined;
      const server = (): string => (isAsItIs ? scene().server : serverWith(config, change));
      const ask: Ask = { program, input: packets(...lines), version, advertise };
      const [theirs, mine] = [wordsOf(gitAnswer(server(), ask)), wordsOf(await ourAnswer(server(), ask))];
      if (ours !== undefined) expect(mine).toEqual(ours.slice(1));
      if (ours === undefined && but === undefined) expect(mine).toEqual(theirs);
      else expect(mine).not.toEqual(theirs);
      if (but !== undefined) expect(but.from(mine)).toEqual(but.from(theirs));
    });
  }
}

/** An answer as a list: packets, `remote:` lines, `ERR` with what it died of, refs that are not as the scene has them. */
function wordsOf({ packets: sent, progress, fatal, failed, local, refs }: Answer): string[] {
  // What git tells its own standard error when it gives up, we tell the client.
  const died = fatal === "" && failed ? (/^fatal: (.*)/m.exec(local)?.[1] ?? "") : fatal;
  const before = baseline();
  return [
    ...sent.map((packet) => packet.replace(/agent=\S+/, "agent=").replace(/ ?object-format=\S+/, "")),
    ...progress.map((line) => `remote: ${line}`),
    ...(died === "" || died === HUNG_UP ? [] : [`ERR ${died}`]),
    ...(failed ? ["fails"] : []),
    ...refs.filter((ref) => !before.includes(ref)),
    ...before.filter((ref) => !refs.some((now) => now.split(" ")[0] === ref.split(" ")[0])).map((ref) => `-${ref}`),
  ];
}

const HUNG_UP = "the remote end hung up unexpectedly";

let baselineRefs: readonly string[] | undefined;

function baseline(): readonly string[] {
  baselineRefs ??= refsOf(scene().server);
  return baselineRefs;
}

function refsOf(dir: string): string[] {
  const head = fs.readFileSync(`${dir}/HEAD`, "utf8").trim();
  const refs = git(dir, "for-each-ref", "--format=%(refname) %(objectname)");
  return [head, ...(refs === "" ? [] : refs.split("\n"))].map(named);
}
