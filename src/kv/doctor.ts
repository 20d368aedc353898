/**
 * `git kv doctor`: looks at everything a clone needs to read and write, from its folder to the Stargate, and says of each whether it is
 * in order and, where it is not, what to do. It changes nothing.
 */

import * as fs from "node:fs";
import * as path from "node:path";
import { type Code, KvError, toKvError } from "../errors.ts";
import { parseIdent } from "../gitwire/object/commit.ts";
import { findLocks } from "../gitwire/refs/lock-files.ts";
import { findRemote } from "../gitwire/transport/remote.ts";
import { isSameRepository, redactUrl } from "../gitwire/transport/url.ts";
import { formatDuration, formatSize } from "../quantity.ts";
import { wantedAge } from "./auto-fetch.ts";
import { ledgerSkew } from "./clock-skew.ts";
import { trackingRefspecs } from "./fetch.ts";
import { ledgerLine } from "./ledger-line.ts";
import { namespaceRefs } from "./namespace.ts";
import { PolicyHistory } from "./policy-history.ts";
import { pinPolicyRoot } from "./policy-pin.ts";
import { readFromOr } from "./read-from.ts";
import { policyAt } from "./read-policy.ts";
import { RefPoller } from "./ref-poller.ts";
import { fetchUrl, hasRemote, pushUrl } from "./remote-session.ts";
import { needsSignature } from "./signing.ts";
import { indexParent, type NamespaceState, readTracked } from "./state.ts";
import { Workspace } from "./workspace.ts";

/** What a check found. */
export interface Diagnosis {
  /** What was looked at: `clone`, `key`, `clock` ... */
  readonly check: string;
  readonly status: "ok" | "warn" | "fail";
  readonly message: string;
  /** The way out. */
  readonly hint?: string;
  /** Of a failure. */
  readonly code?: Code;
}

type Finding = Omit<Diagnosis, "check">;

/** Free bytes below which a disk is called full. */
const LITTLE_ROOM = 256 * 1024 * 1024;

const ok = (message: string): Finding => ({ status: "ok", message });
const warn = (message: string, hint: string): Finding => ({ status: "warn", message, hint });
const fail = (code: Code, message: string, hint?: string): Finding => ({
  status: "fail",
  code,
  message,
  ...(hint !== undefined && { hint }),
});

/** Looks at everything in turn; with `offline` at nothing that needs the network. @internal */
export async function* diagnose(
  workspace: Workspace,
  { offline }: { readonly offline: boolean },
): AsyncGenerator<Diagnosis> {
  yield* new Doctor(workspace, offline).run();
}

class Doctor {
  readonly #workspace: Workspace;
  readonly #offline: boolean;
  /** What was warned of on the way: a clock that is wrong shows in a server's answers. */
  readonly #warned: string[] = [];
  /** What was told on the way: which key would sign. */
  readonly #told: string[] = [];

  constructor({ repo, ns, around }: Workspace, offline: boolean) {
    const hear = {
      warn: (text: string) => void this.#warned.push(text),
      note: (text: string) => void this.#told.push(text),
    };
    this.#workspace = new Workspace(repo, ns, { ...around, ...hear });
    this.#offline = offline;
  }

  async *run(): AsyncGenerator<Diagnosis> {
    const checks: readonly [string, () => Finding | Promise<Finding | undefined> | undefined][] = [
      ["clone", () => this.#clone()],
      ["disk", () => this.#disk()],
      ["locks", () => this.#locks()],
      ["identity", () => this.#identity()],
      ["namespace", () => this.#namespace()],
      ["remote", () => this.#remote()],
      ["reads", () => this.#reads()],
      ["policy", () => this.#policy()],
      ["push-url", () => this.#pushUrl()],
      ["key", () => this.#key()],
      ["stargate", () => this.#stargate()],
      ["mirror", () => this.#mirror()],
      ["clock", () => this.#clock()],
    ];
    for (const [check, look] of checks) {
      this.#workspace.around.signal.throwIfAborted();
      const finding = await this.#attempt(look);
      if (finding !== undefined) yield { check, ...finding };
    }
  }

  /** A check that cannot be made has failed. */
  async #attempt(look: () => Finding | Promise<Finding | undefined> | undefined): Promise<Finding | undefined> {
    try {
      return await look();
    } catch (thrown) {
      this.#workspace.around.signal.throwIfAborted();
      const { code, message, hint } = toKvError(thrown);
      if (code === "BUG") throw thrown;
      return fail(code, message, hint);
    }
  }

  #clone(): Finding {
    const { repo } = this.#workspace;
    const text = `${repo.gitDir}, ${repo.format.name}${repo.bare ? ", bare" : ""}`;
    if (!fs.existsSync(path.join(repo.commonDir, "shallow"))) return ok(text);
    return warn(`${text}, shallow: history ends where it was cut`, "git fetch --unshallow");
  }

  #disk(): Finding {
    const { objectsDir } = this.#workspace.repo;
    fs.accessSync(objectsDir, fs.constants.W_OK);
    const { bavail, bsize } = fs.statfsSync(objectsDir);
    const free = bavail * bsize;
    if (free >= LITTLE_ROOM) return ok(`${formatSize(free)} free`);
    return warn(`only ${formatSize(free)} free for ${objectsDir}`, "free space on the disk");
  }

  /** Nothing where there are none: whoever writes now has one. */
  #locks(): Finding | undefined {
    const { repo, around } = this.#workspace;
    const [first, ...more] = findLocks(repo.commonDir);
    if (first === undefined) return undefined;
    const age = formatDuration(Math.max(0, Math.floor((around.clock.now() - first.since) / 1000)));
    const others = more.length === 0 ? "" : `, and ${more.length} more`;
    return warn(
      `${first.file} is ${age} old${others}`,
      "nothing is written while it is there: remove it where no git runs",
    );
  }

  #identity(): Finding {
    const { name, email } = this.#workspace.ident("author");
    return ok(`${name} <${email}>`);
  }

  #namespace(): Finding {
    const { ns } = this.#workspace;
    const state = this.#workspace.requireState();
    if (state.index === undefined) return fail("CORRUPT", `the kv-index of '${ns}' is not here`, "git kv fetch");
    indexParent(this.#workspace.repo.objects, state);
    const { seq, oid, epoch } = state.ledger;
    return ok(`'${ns}' at transaction ${seq} (${oid.slice(0, 12)}), epoch '${epoch}'`);
  }

  #remote(): Finding {
    const { remote, repo } = this.#workspace;
    const refused = this.#refusal();
    if (!hasRemote(this.#workspace)) return refused ?? ok("none: the refs of this repository are the ledger");
    const url = redactUrl(fetchUrl(this.#workspace));
    if (refused !== undefined) return { ...refused, message: `'${remote}' ${url}: ${refused.message}` };
    const present = new Set(findRemote(repo.config, remote).fetch);
    const missing = trackingRefspecs(remote).filter((refspec) => !present.has(refspec));
    if (missing.length === 0) return ok(`'${remote}' ${url}`);
    const some = missing.length === trackingRefspecs(remote).length;
    if (some && !this.#workspace.hasStargate) {
      return warn(`'${remote}' ${url} is not set up: what is written stays here`, "git kv remote setup");
    }
    return fail("CONFIG", `'${remote}' does not fetch ${missing[0]!.split(":")[0]!.slice(1)}`, "git kv remote setup");
  }

  /** Why the refs here may not be written to, where no Stargate is set up; undefined where they may, or one is. */
  #refusal(): Finding | undefined {
    if (this.#workspace.hasStargate) return undefined;
    try {
      this.#workspace.requireLocalMode();
      return undefined;
    } catch (error) {
      if (!(error instanceof KvError)) throw error;
      const { code, message, hint } = error;
      // A clone may be there to be read, and a Stargate's repository is written to through it.
      return this.#workspace.followsMirror || code === "REF_FORBIDDEN"
        ? warn(message, hint ?? "")
        : fail(code, message, hint);
    }
  }

  #reads(): Finding {
    const { repo } = this.#workspace;
    const from = readFromOr("local", this.#workspace);
    const age = wantedAge(repo.config);
    if (from !== "local") return ok(`what the ${from} has, asked each time (kv.readFrom)`);
    if (age === undefined) return ok("what is here");
    return ok(`what is here, after a fetch ${age === 0 ? "each time" : `every ${formatDuration(age)}`} (kv.autoFetch)`);
  }

  async #policy(): Promise<Finding> {
    const { repo } = this.#workspace;
    const tip = this.#workspace.policy();
    const history = tip === undefined ? undefined : await PolicyHistory.read(repo.objects, tip);
    const pin = pinPolicyRoot(repo, history?.root, false);
    if (pin.kind === "changed") {
      const now = pin.root === undefined ? "there is no policy" : `the first policy is ${pin.root}`;
      return fail(
        "POLICY_UNTRUSTED",
        `the root of trust has changed: ${now}, kv.policyRoot is ${pin.pinned}`,
        ASK_ADMIN,
      );
    }
    if (history === undefined) return ok("none: no signature is required");
    const [problem] = history.problems;
    if (problem !== undefined) return fail("POLICY_UNTRUSTED", `${problem.oid}: ${problem.error.message}`, ASK_ADMIN);
    const text = `${history.tip.slice(0, 12)} in force, from the root ${history.root.slice(0, 12)}`;
    return pin.kind === "none"
      ? warn(`${text}, which is not pinned`, "git kv remote setup, or git kv verify, pins it")
      : ok(`${text} as pinned`);
  }

  #pushUrl(): Finding | undefined {
    const { repo, hasStargate } = this.#workspace;
    if (!hasStargate) return undefined;
    const tip = this.#workspace.policy();
    const wanted = tip === undefined ? undefined : policyAt(repo.objects, tip).pushUrl;
    const url = pushUrl(this.#workspace);
    const isPolicys = wanted !== undefined && isSameRepository(wanted, url);
    if (!isPolicys && url === fetchUrl(this.#workspace)) {
      return fail("CONFIG", `writes go to where reads come from: ${redactUrl(url)}`, "git kv remote setup");
    }
    if (wanted !== undefined && !isPolicys) {
      return warn(
        `${redactUrl(url)}, and the policy says ${redactUrl(wanted)}`,
        "git kv remote setup takes the policy's",
      );
    }
    return ok(redactUrl(url));
  }

  async #key(): Promise<Finding> {
    const policy = this.#workspace.policy();
    if (!(await needsSignature(this.#workspace, policy))) return ok("no signature is required");
    const { writerSigner } = await import("./signer.ts");
    const sign = await writerSigner(this.#workspace, policy);
    // Only a signature shows that the agent answers and the file is not locked.
    const { format, objects } = this.#workspace.repo;
    const state = this.#workspace.requireState();
    const commit = objects.read(state.ledger.oid)!.data;
    const { splitCommit } = await import("../gitwire/object/commit-signature.ts");
    const signed = await sign(splitCommit(format, commit).payload);
    const { judgeSignature } = await import("./judge-signature.ts");
    const rules = policy === undefined ? undefined : policyAt(objects, policy);
    const now = this.#workspace.around.clock.now();
    const { signer, name, problem } = await judgeSignature(format, signed, rules, this.#workspace.ns, now);
    if (problem !== undefined) return fail(problem.code, problem.message, problem.hint);
    return ok(`${signer?.fingerprint ?? "a key"}${name === undefined ? "" : ` (${name})`} can sign and may write`);
  }

  async #stargate(): Promise<Finding | undefined> {
    if (!this.#workspace.hasStargate || this.#offline) return undefined;
    // As a push would begin, so that a server's clock is looked at as well.
    const { checkStargate } = await import("./setup.ts");
    await checkStargate(this.#workspace, pushUrl(this.#workspace));
    const { askStatus } = await import("./ask-stargate.ts");
    const { name, namespaces, writable, error, mirror } = await askStatus(this.#workspace);
    const own = namespaces.find(({ ns }) => ns === this.#workspace.ns);
    const seq = own === undefined ? "has no such namespace yet" : `is at transaction ${own.seq}`;
    if (!writable)
      return fail("BUSY", `${name} takes no pushes: ${error ?? "no reason given"}`, "its administrator can tell");
    if (mirror === null) return ok(`${name} takes pushes, ${seq}, and has no mirror`);
    const behind = own?.backlog ?? 0;
    const lag =
      behind === 0
        ? "its mirror is up to date"
        : `its mirror is ${behind} behind (${Math.ceil((own?.lag ?? 0) / 1000)} s)`;
    if (mirror.state === "blocked" || mirror.state === "diverged") {
      const why = mirror.error ?? mirror.stuck[0]?.error ?? "no reason given";
      return warn(`${name} takes pushes, ${seq}; its mirror is ${mirror.state}: ${why}`, "git kv stargate sync");
    }
    return ok(`${name} takes pushes, ${seq}, ${lag}`);
  }

  async #mirror(): Promise<Finding | undefined> {
    if (!hasRemote(this.#workspace) || this.#offline) return undefined;
    const { repo, ns, remote } = this.#workspace;
    const url = fetchUrl(this.#workspace);
    const { ledger } = namespaceRefs(ns);
    const poller = new RefPoller(this.#workspace, url, [ledger]);
    try {
      const there = (await poller.look()).get(ledger);
      const own = this.#workspace.state();
      if (there === undefined)
        return warn(`${redactUrl(url)} has no ledger of '${ns}'`, "git kv stargate status tells why");
      if (own === undefined || there === own.ledger.oid) return ok(`'${remote}' shows what is here`);
      if (!repo.objects.has(there)) return warn(`'${remote}' shows a commit that is not here`, "git kv fetch");
      return this.#standing(own, there);
    } finally {
      await poller.close();
    }
  }

  /** How the mirror's commit stands to the state here. */
  #standing(own: NamespaceState, there: string): Finding {
    const { repo, ns, remote } = this.#workspace;
    const tracked = readTracked(repo.objects, repo.refs, ns, remote);
    const seq = tracked?.ledger.oid === there ? tracked.ledger.seq : undefined;
    const line = seq === undefined ? undefined : ledgerLine(repo.objects, own.ledger, { oid: there, seq });
    if (line?.kind === "foreign") {
      return fail("NOT_FAST_FORWARD", `'${remote}' shows a ledger that is not part of the one here`, ASK_ADMIN);
    }
    const behind = seq === undefined ? "behind" : `${own.ledger.seq - seq} behind`;
    return warn(`'${remote}' is ${behind} what is here`, "git kv wait --oid OID waits for it");
  }

  #clock(): Finding {
    const state = this.#workspace.state();
    const now = this.#workspace.around.clock.now();
    const made = state === undefined ? undefined : parseIdent(state.ledger.commit.committer).seconds * 1_000;
    const skew = this.#warned[0] ?? (made === undefined ? undefined : ledgerSkew(made, now));
    if (skew !== undefined)
      return warn(skew, "let the system's clock be set from the network (timedatectl set-ntp true)");
    return ok(new Date(now).toISOString().replace(/\.\d+Z$/, "Z"));
  }
}

const ASK_ADMIN = "ask an administrator before anything else is written";

/** The error that a failed check stands for. */
export function failureOf({ code, message, hint }: Diagnosis): KvError {
  return new KvError(code ?? "IO", message, hint === undefined ? {} : { hint });
}
