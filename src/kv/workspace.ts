/** What a command works on: a repository, a namespace in it and, where one is set up, the remote it is mirrored at. */

import type { Clock } from "../clock.ts";
import { identFor } from "../gitwire/ident.ts";
import type { Ident } from "../gitwire/object/commit.ts";
import type { Oid } from "../gitwire/object/oid.ts";
import type { Repository } from "../gitwire/repo.ts";
import { POLICY_REF, parseNamespace, trackingRoot } from "./namespace.ts";
import { type NamespaceState, newestState, requireState } from "./state.ts";

export type Environment = Readonly<Record<string, string | undefined>>;

/** What is the same for every command of one run. */
export interface Surroundings {
  readonly env: Environment;
  readonly clock: Clock;
  readonly signal: AbortSignal;
  /** Shows one line of progress or news from a server. */
  readonly progress: (text: string) => void;
}

/** A repository and the namespace a command speaks of. */
export class Workspace {
  readonly repo: Repository;
  readonly ns: string;
  readonly around: Surroundings;

  constructor(repo: Repository, ns: string | undefined, around: Surroundings) {
    this.repo = repo;
    this.ns = parseNamespace(ns ?? repo.config.get("kv.namespace") ?? "main");
    this.around = around;
  }

  /** Name of the remote that mirrors the ledger. */
  get remote(): string {
    return this.repo.config.get("kv.remote") ?? "origin";
  }

  /** Whether `remote setup` was run: then the Stargate decides what is accepted, else the local refs are the ledger. */
  get hasStargate(): boolean {
    const refspec = `+refs/kv/*:${trackingRoot(this.remote)}kv/*`;
    return this.repo.config.getAll(`remote.${this.remote}.fetch`).includes(refspec);
  }

  /** Unix seconds. */
  now(): number {
    return Math.floor(this.around.clock.now() / 1000);
  }

  /** The newest state known here, or undefined. */
  state(): NamespaceState | undefined {
    return newestState(this.repo.objects, this.repo.refs, this.ns, this.remote);
  }

  /** The newest state known here. Throws NS_NOT_FOUND. */
  requireState(): NamespaceState {
    return requireState(this.repo.objects, this.repo.refs, this.ns, this.remote);
  }

  /** The commit of the policy in force, as far as this clone knows. */
  policy(): Oid | undefined {
    return this.repo.refs.resolve(POLICY_REF) ?? this.repo.refs.resolve(`${trackingRoot(this.remote)}kv-policy`);
  }

  ident(role: "author" | "committer"): Ident {
    return identFor(role, this.repo.config, this.around.env, this.around.clock);
  }
}
