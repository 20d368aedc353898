/** What a command works on: a repository, a namespace in it and, where one is set up, the remote it is mirrored at. */

import * as fs from "node:fs";
import * as path from "node:path";
import type { Clock } from "../clock.ts";
import { KvError } from "../errors.ts";
import { identFor, requireIdent } from "../gitwire/ident.ts";
import type { Ident } from "../gitwire/object/commit.ts";
import type { ObjectSource } from "../gitwire/object/object.ts";
import type { Oid } from "../gitwire/object/oid.ts";
import type { Repository } from "../gitwire/repo.ts";
import { namespaceRefs, POLICY_REF, parseNamespace, trackingRoot } from "./namespace.ts";
import { missingHint } from "./partial-clone.ts";
import type { RemoteCopy } from "./remote-copy.ts";
import { type NamespaceState, newestState, readState } from "./state.ts";

export type Environment = Readonly<Record<string, string | undefined>>;

/** The file that makes a repository a Stargate's. */
const STARGATE_SETTINGS = "stargate.yaml";

/** What is the same for every command of one run. */
export interface Surroundings {
  readonly env: Environment;
  readonly clock: Clock;
  readonly signal: AbortSignal;
  /** Shows one line of progress, which the next one replaces. */
  readonly progress: (text: string) => void;
  /** Shows one line that a server or ssh said. */
  readonly heard?: (line: string) => void;
  /** Tells what went wrong without making the command fail. */
  readonly warn: (text: string) => void;
  /** Tells what is done. */
  readonly note?: (text: string) => void;
}

/** Who waits for something that takes long: may break it off, and be told how far it is. */
export interface Watch {
  readonly signal?: AbortSignal | undefined;
  readonly progress?: Surroundings["progress"] | undefined;
}

/** The setting that names the namespace where nobody else does. */
const NAMESPACE = "kv.namespace";

/** A repository and the namespace a command speaks of. */
export class Workspace {
  readonly repo: Repository;
  readonly ns: string;
  readonly around: Surroundings;
  /** The remote that is read without a clone; `repo` is then a cache of it. */
  readonly copy: RemoteCopy | undefined;

  constructor(repo: Repository, ns: string | undefined, around: Surroundings, copy?: RemoteCopy) {
    this.repo = repo;
    this.copy = copy;
    const setting = ns === undefined ? repo.config.get(NAMESPACE) : undefined;
    this.ns = setting === undefined ? parseNamespace(ns ?? "main") : parseNamespace(setting, NAMESPACE);
    this.around = around;
    const objects: ObjectSource = repo.objects;
    objects.missingHint = () => missingHint(repo);
  }

  /** The same place, for another of its namespaces. */
  of(ns: string): Workspace {
    return ns === this.ns ? this : new Workspace(this.repo, ns, this.around);
  }

  /** Name of the remote that mirrors the ledger. */
  get remote(): string {
    return this.repo.config.get("kv.remote") ?? "origin";
  }

  /** Whether `remote setup` was run: then the Stargate decides what is accepted, else the local refs are the ledger. */
  get hasStargate(): boolean {
    return this.#isSetUp(this.remote);
  }

  /** Whether news comes from a remote that this clone reads and does not write to: it follows one, or has no ledger of its own. */
  get followsMirror(): boolean {
    const { repo, ns, remote, hasStargate } = this;
    if (hasStargate || repo.config.get(`remote.${remote}.url`) === undefined) return false;
    if (repo.refs.resolve(namespaceRefs(ns, trackingRoot(remote)).ledger) !== undefined) return true;
    return repo.refs.resolve(namespaceRefs(ns).ledger) === undefined;
  }

  #isSetUp(remote: string): boolean {
    return this.repo.config.getAll(`remote.${remote}.fetch`).includes(`+refs/kv/*:${trackingRoot(remote)}kv/*`);
  }

  /**
   * Throws where the local refs must not decide what is accepted: REF_FORBIDDEN in a Stargate's own repository, CONFIG in a clone
   * that follows one and is not set up to write through it. A write would be reported as done and be nowhere but here.
   */
  requireLocalMode(): void {
    const { repo, remote, ns } = this;
    const { ledger } = namespaceRefs(ns);
    if (fs.existsSync(path.join(repo.gitDir, STARGATE_SETTINGS))) {
      throw new KvError("REF_FORBIDDEN", `${ledger} can only be moved through the Stargate of this repository`, {
        hint: "write from a clone",
      });
    }
    const other = repo.config.subsections("remote").find((name) => this.#isSetUp(name));
    if (other !== undefined) {
      throw new KvError(
        "CONFIG",
        `this clone writes through the Stargate of '${other}', and kv.remote is '${remote}'`,
        {
          hint: `unset kv.remote, or run 'git kv remote setup --remote ${remote}'`,
        },
      );
    }
    if (repo.refs.resolve(namespaceRefs(ns, trackingRoot(remote)).ledger) === undefined) return;
    throw new KvError("CONFIG", `this clone follows '${remote}' and is not set up to write through its Stargate`, {
      hint: "run 'git kv remote setup'",
    });
  }

  /** Unix seconds. */
  now(): number {
    return Math.floor(this.around.clock.now() / 1000);
  }

  /** The newest state known here, or undefined. */
  state(): NamespaceState | undefined {
    const { repo, ns, remote, around } = this;
    return newestState(repo.objects, repo.refs, ns, remote, (closed) => {
      around.warn(
        closed === undefined
          ? `'${remote}' has newer transactions of '${ns}', and those before them are not here: run 'git kv fetch'`
          : `'${remote}' has begun a new epoch of '${ns}' after '${closed.label}', of which the end is not here: run 'git kv fetch'`,
      );
    });
  }

  /** The state known here to be accepted, whatever a mirror shows; undefined where there is none. */
  acceptedState(): NamespaceState | undefined {
    return readState(this.repo.objects, this.repo.refs, this.ns);
  }

  /** The newest state known here. Throws NS_NOT_FOUND. */
  requireState(): NamespaceState {
    const state = this.state();
    if (state !== undefined) return state;
    const isSetting = this.repo.config.get(NAMESPACE) === this.ns;
    const where = isSetting ? `, and ${NAMESPACE} names it` : "";
    throw new KvError("NS_NOT_FOUND", `namespace '${this.ns}' is not in this repository${where}`);
  }

  /** The commit of the policy in force, as far as this clone knows. */
  policy(): Oid | undefined {
    return this.repo.refs.resolve(POLICY_REF) ?? this.repo.refs.resolve(`${trackingRoot(this.remote)}kv-policy`);
  }

  /** Throws CONFIG. */
  ident(role: "author" | "committer"): Ident {
    requireIdent(role, this.repo.config, this.around.env);
    return identFor(role, this.repo.config, this.around.env, this.around.clock);
  }
}
