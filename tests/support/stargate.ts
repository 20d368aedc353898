/** A Stargate in this process, and a client that plans transactions with the real planner and pushes them. */

import * as path from "node:path";
import { utf8ToByteString } from "../../src/bytes.ts";
import { type Chunking, DEFAULT_CHUNKING } from "../../src/cdc/chunking.ts";
import { type Clock, systemClock } from "../../src/clock.ts";
import { setConfig } from "../../src/gitwire/config/config-edit.ts";
import { GitConfig } from "../../src/gitwire/config.ts";
import { encodeCommit, type Ident } from "../../src/gitwire/object/commit.ts";
import type { GitObject, ObjectSink } from "../../src/gitwire/object/object.ts";
import type { ObjectFormat, ObjectKind, Oid } from "../../src/gitwire/object/oid.ts";
import { encodeTree, MODE } from "../../src/gitwire/object/tree.ts";
import { PackBuilder } from "../../src/gitwire/pack/pack-builder.ts";
import type { CapabilityEntry } from "../../src/gitwire/protocol/capabilities.ts";
import type { PushCommand } from "../../src/gitwire/protocol/receive-commands.ts";
import { type PushResult, sendPack } from "../../src/gitwire/protocol/send-pack.ts";
import { openRepository, type Repository } from "../../src/gitwire/repo.ts";
import { connect } from "../../src/gitwire/transport/connect.ts";
import { type ChunkFile, type ChunkTip, chunkTipAt } from "../../src/kv/chunk-tree.ts";
import { draftEpoch } from "../../src/kv/epoch-plan.ts";
import { etagOf } from "../../src/kv/etag.ts";
import { keyName } from "../../src/kv/key.ts";
import { chunkRef, epochRef, POLICY_REF } from "../../src/kv/namespace.ts";
import type { Operation } from "../../src/kv/operation.ts";
import { readState } from "../../src/kv/state.ts";
import { draftTransaction } from "../../src/kv/transaction.ts";
import { newUlid } from "../../src/kv/ulid.ts";
import { Daemon } from "../../src/stargate/daemon.ts";
import type { Stage } from "../../src/stargate/gate.ts";
import { initialize } from "../../src/stargate/initialize.ts";
import type { Log } from "../../src/stargate/log.ts";
import { stargateDir } from "../../src/stargate/settings.ts";
import { type Scope, TokenStore } from "../../src/stargate/tokens.ts";
import type { TurnTimes } from "../../src/stargate/turns.ts";
import { type ChunkedSet, chunkedSet, cut } from "./chunked.ts";
import { tempDir } from "./temp.ts";
import { TEST_FORMAT } from "./test-format.ts";

/** The gateway's program, run from source. */
export const STARGATE_PROGRAM: readonly string[] = [
  process.execPath,
  path.join(import.meta.dir, "..", "..", "bin", "git-kv-stargate.ts"),
];

export interface StargateOptions {
  readonly format?: ObjectFormat;
  /** Address of the mirror. */
  readonly mirror?: string;
  readonly onStage?: (stage: Stage) => void;
  readonly turnTimes?: TurnTimes;
  /** An existing folder to serve again. */
  readonly dir?: string;
  readonly env?: Record<string, string | undefined>;
  readonly clock?: Clock;
  /** False: packs are left as they come, so that what a push leaves behind can be counted. */
  readonly upkeep?: boolean;
  /** The listener for operators; none by default. */
  readonly adminListen?: string;
}

export interface LogLine {
  readonly level: string;
  readonly component: string;
  readonly [field: string]: unknown;
}

/** A running Stargate. */
export class TestStargate {
  readonly dir: string;
  readonly daemon: Daemon;
  readonly log: LogLine[];

  private constructor(dir: string, daemon: Daemon, log: LogLine[]) {
    this.dir = dir;
    this.daemon = daemon;
    this.log = log;
  }

  static async start(options: StargateOptions = {}): Promise<TestStargate> {
    const env = { ...process.env, ...options.env };
    const dir = options.dir ?? path.join(tempDir("stargate"), "kv.git");
    if (options.dir === undefined) {
      await initialize({
        dir,
        mirrorUrl: options.mirror,
        pushUrl: undefined,
        adminKey: undefined,
        ns: "main",
        format: options.format ?? TEST_FORMAT,
        program: STARGATE_PROGRAM,
        env,
        clock: systemClock,
      });
    }
    if (options.upkeep === false) setConfig(path.join(dir, "config"), "gc.auto", "0");
    const log: LogLine[] = [];
    const write: Log = (level, component, fields) => void log.push({ level, component, ...fields });
    const daemon = await Daemon.start({
      repositories: [{ name: "kv.git", dir }],
      flags: { listen: "127.0.0.1:0", adminListen: options.adminListen ?? "off" },
      env,
      clock: options.clock ?? systemClock,
      log: write,
      warn: (text) => write("warn", "warn", { message: text }),
      onFailure: () => {},
      ...(options.onStage !== undefined && { onStage: options.onStage }),
      ...(options.turnTimes !== undefined && { turnTimes: options.turnTimes }),
    });
    return new TestStargate(dir, daemon, log);
  }

  /** `http://127.0.0.1:port/kv.git` */
  get url(): string {
    return `${this.daemon.listeners.find((one) => one.startsWith("http"))}/kv.git`;
  }

  /** The listener for operators, `http://127.0.0.1:port`. */
  get opsUrl(): string {
    const url = this.daemon.listeners.filter((one) => one.startsWith("http"))[1];
    if (url === undefined) throw new Error("started without adminListen");
    return url;
  }

  /** A new token. */
  token(scope: Scope = "write", name = `t${Math.random().toString(36).slice(2)}`, expires?: number): string {
    return new TokenStore(stargateDir(this.dir)).add(name, scope, expires, systemClock);
  }

  /** The address with a token in it. */
  loginUrl(token: string): string {
    return this.url.replace("http://", `http://tester:${token}@`);
  }

  /** Waits for a log line that `fits`. */
  async logged(fits: (line: LogLine) => boolean, ms = 5_000): Promise<LogLine> {
    for (const end = Date.now() + ms; ; await Bun.sleep(5)) {
      const found = this.log.find(fits);
      if (found !== undefined) return found;
      if (Date.now() > end) throw new Error(`not logged: ${JSON.stringify(this.log)}`);
    }
  }

  async stop(): Promise<void> {
    await this.daemon.stop(2_000);
  }
}

const WHO: Ident = { name: "Test", email: "test@example.com", seconds: 1_767_322_800, offset: 0 };

/** A value of a key: text, nothing (it is deleted), or one in pieces. */
export type TestValue = string | undefined | ((sink: ObjectSink, key: string) => ChunkedSet);
export type TestValues = Readonly<Record<string, TestValue>>;

/** A value in pieces as the chunker cuts it. */
export function large(data: Buffer, chunking: Chunking = DEFAULT_CHUNKING): Exclude<TestValue, string | undefined> {
  return (sink, key) => chunkedSet(sink, key, cut(data, chunking), { chunking });
}

/** A transaction ready to be pushed; tests change parts of it. */
export interface Planned {
  readonly commands: PushCommand[];
  readonly pack: PackBuilder;
  readonly txn: string;
  readonly ledger: Oid;
  /** What is in the pack. */
  readonly objects: ReadonlyMap<Oid, GitObject>;
}

/** Plans on the state in the Stargate's own repository, and pushes over any address. */
export class TestClient {
  readonly repo: Repository;
  readonly address: string;
  /** What the server said on sideband 2. */
  said = "";
  readonly env: Record<string, string>;
  /** Signs the ledger commits it plans. */
  sign: ((commit: Buffer) => Buffer) | undefined;
  /** Author of the commits it plans. */
  author = WHO;

  constructor(dir: string, address: string, env: Record<string, string> = {}) {
    this.repo = openRepository(dir);
    this.address = address;
    this.env = env;
  }

  /** Plans a transaction; `pack` may hold objects already. */
  plan(values: TestValues, ns = "main", txn = newUlid(systemClock), pack = new PackBuilder(this.repo.format)): Planned {
    const { objects, refs, format } = this.repo;
    const made = new Map<Oid, GitObject>();
    const keep = (kind: ObjectKind, data: Uint8Array, oid: Oid): Oid => {
      made.set(oid, { kind, data: Buffer.from(data) });
      return oid;
    };
    const sink: ObjectSink = {
      format,
      write: (kind, data) => keep(kind, data, pack.write(kind, data)),
      writeDelta: (kind, data, base, delta) => keep(kind, data, pack.writeDelta(kind, data, base, delta)),
    };
    const pieces = new Map<string, ChunkFile>();
    const operations = Object.entries(values).map(([key, value]): Operation => {
      const bytes = utf8ToByteString(key);
      const target = { key: bytes, name: keyName(bytes) };
      if (value === undefined) return { kind: "del", ...target, ignoreMissing: false };
      if (typeof value === "function") {
        const large = value(sink, key);
        for (const piece of large.pieces) pieces.set(piece.sha256, piece);
        return large.operation;
      }
      const data = Buffer.from(value);
      const oid = sink.write("blob", data);
      const stored = { type: "inline", oid, size: data.length, etag: etagOf(data), ctype: "text/plain" } as const;
      return { kind: "set", ...target, value: stored, expires: undefined, labels: undefined };
    });
    const draft = draftTransaction(objects, sink, {
      base: readState(objects, refs, ns),
      ns,
      epoch: "e1",
      policy: refs.resolve(POLICY_REF),
      txn,
      operations,
      message: undefined,
      author: this.author,
      committer: WHO,
      ...(pieces.size > 0 && { chunks: { tip: this.chunkTip(ns), pieces: [...pieces.values()] } }),
    });
    if (draft.kind !== "draft") throw new Error("nothing changes");
    const plan = draft.finish(this.sign?.(draft.ledgerCommit));
    const commands = plan.moves.map(({ ref, oldOid, newOid }) => ({ ref, oldOid: oldOid ?? format.zeroOid, newOid }));
    return { commands, pack, txn, ledger: plan.ledger, objects: made };
  }

  /** Plans the start of an epoch at `seconds` (Unix). */
  async planEpoch(label: string, { ns = "main", seconds = WHO.seconds } = {}): Promise<Planned> {
    const { objects, refs, format } = this.repo;
    const pack = new PackBuilder(format);
    const made = new Map<Oid, GitObject>();
    const write = (kind: ObjectKind, data: Uint8Array): Oid => {
      const oid = pack.write(kind, data);
      made.set(oid, { kind, data: Buffer.from(data) });
      return oid;
    };
    const sink: ObjectSink = { format, write, writeDelta: (kind, data) => write(kind, data) };
    const who = { ...WHO, seconds };
    const txn = newUlid(systemClock);
    const { draft } = await draftEpoch(objects, sink, {
      base: readState(objects, refs, ns)!,
      ...{ ns, label, txn, message: undefined, author: who, committer: who },
      epochRoot: refs.resolve(epochRef(ns)),
      policy: refs.resolve(POLICY_REF),
    });
    const { moves, ledger } = draft.finish();
    const commands = moves.map(({ ref, oldOid, newOid }) => ({ ref, oldOid: oldOid ?? format.zeroOid, newOid }));
    return { commands, pack, txn, ledger, objects: made };
  }

  chunkTip(ns = "main"): ChunkTip | undefined {
    const epoch = readState(this.repo.objects, this.repo.refs, ns)?.ledger.epoch ?? "e1";
    const oid = this.repo.refs.resolve(chunkRef(ns, epoch));
    return oid === undefined ? undefined : chunkTipAt(this.repo.objects, oid);
  }

  async push(
    planned: Pick<Planned, "commands"> & Partial<Planned>,
    pushOptions: readonly string[] = [],
    features: readonly CapabilityEntry[] = [],
  ): Promise<PushResult> {
    this.said = "";
    const config = GitConfig.load({ env: {} });
    const transport = await connect(this.address, "git-receive-pack", {
      config,
      env: { ...process.env, ...this.env },
      agent: "test/1",
    });
    try {
      return await sendPack(transport, {
        commands: planned.commands,
        pack: planned.pack?.finish(),
        format: this.repo.format,
        atomic: true,
        pushOptions,
        useAdvertisement: false,
        agent: "test/1",
        features,
        progress: (text) => {
          this.said += text;
        },
      });
    } finally {
      await transport.close();
    }
  }

  /** Sets keys in one transaction; returns the ledger commit. */
  async set(values: TestValues, ns = "main"): Promise<Oid> {
    const planned = this.plan(values, ns);
    const result = await this.push(planned);
    for (const [ref, outcome] of result.refs) {
      if (!outcome.ok) throw new Error(`${ref}: ${outcome.reason}; ${this.said}`);
    }
    return planned.ledger;
  }
}

/** The code of the rejection every ref of a push got, or "ok". */
export function verdict(result: PushResult): string {
  const codes = new Set(
    [...result.refs.values()].map((outcome) =>
      outcome.ok ? "ok" : (/^[A-Z_]+(?=:)/.exec(outcome.reason)?.[0] ?? outcome.reason),
    ),
  );
  return [...codes].join(" | ");
}

/** A push of the next policy, on the one in force unless other parents are given; `sign` changes the commit's text. */
export function policyPush(
  client: TestClient,
  text: string,
  parents?: readonly Oid[],
  sign: (commit: string) => string = (commit) => commit,
  pack = new PackBuilder(client.repo.format),
): Omit<Planned, "txn" | "objects"> {
  const { format, refs } = client.repo;
  const old = refs.resolve(POLICY_REF);
  const blob = pack.write("blob", Buffer.from(text));
  const tree = pack.write("tree", encodeTree(format, [{ mode: MODE.file, name: "policy.yaml", oid: blob }]));
  const commit = encodeCommit({
    tree,
    parents: parents ?? (old === undefined ? [] : [old]),
    author: WHO,
    committer: WHO,
    message: "policy\n",
  });
  const newOid = pack.write("commit", Buffer.from(sign(commit.toString())));
  return { commands: [{ ref: POLICY_REF, oldOid: old ?? format.zeroOid, newOid }], pack, ledger: newOid };
}
