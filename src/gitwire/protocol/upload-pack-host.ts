/** What a fetch may see of a repository: the sessions (upload-pack.ts, upload-pack-v2.ts) ask nothing else. */

import type { GitConfig } from "../config.ts";
import type { ObjectFormat, Oid } from "../object/oid.ts";
import type { RefSnapshot } from "../refs/ref-snapshot.ts";
import type { RefStore } from "../refs/ref-store.ts";
import type { ObjectStore } from "../store/object-store.ts";
import { readShallow } from "../store/shallow-file.ts";
import { hiddenRefs } from "./hidden-refs.ts";
import type { RemoteRef } from "./ref-advertisement.ts";
import { type UploadPolicy, uploadPolicy } from "./upload-policy.ts";
import { VisibleRefs } from "./visible-refs.ts";

/** HEAD of a repository whose branch has no commit yet. */
export interface UnbornHead {
  readonly symref: string;
}

export interface UploadPackHost {
  readonly objects: ObjectStore;
  /**
   * HEAD first where it leads to a commit, then all refs that may be seen, in byte order, as they are at one moment; only
   * those that begin with one of `prefixes`, where some are given. Annotated tags are peeled.
   */
  refs(prefixes?: readonly string[]): VisibleRefs;
  /** HEAD, where its branch does not exist yet. */
  unbornHead(): UnbornHead | undefined;
  /** Commits that are here without their parents. */
  shallow(): readonly Oid[];
  /** The refs that may not be seen. */
  hiddenRefs(): VisibleRefs;
  readonly policy: UploadPolicy;
}

/** What a host needs of a repository; a Repository will do. */
export interface ServedRepository {
  readonly format: ObjectFormat;
  readonly objects: ObjectStore;
  readonly refs: RefStore;
  readonly config: GitConfig;
  readonly commonDir: string;
}

/**
 * The ordinary repository: every ref, but for those its config hides. `open`: what its config does not settle is allowed, as
 * a Stargate does; without it git's own defaults hold (see upload-policy.ts).
 */
export function repositoryUploadHost(repo: ServedRepository, open = true): UploadPackHost {
  const hidden = hiddenRefs(repo.config, "uploadpack");
  return {
    objects: repo.objects,
    refs: (prefixes = []) => visibleRefs(repo.refs, prefixes, hidden),
    unbornHead: () => {
      const head = repo.refs.head();
      if (head.kind === "detached" || head.oid !== undefined) return undefined;
      const { name } = repo.refs.follow(head.ref);
      return isHidden("HEAD", hidden) || isHidden(name, hidden) ? undefined : { symref: name };
    },
    shallow: () => readShallow(repo.commonDir, repo.format),
    hiddenRefs: () => new VisibleRefs(repo.refs.view(), undefined, (name) => hidden?.(name) !== true),
    policy: uploadPolicy(repo.config, open),
  };
}

function visibleRefs(store: RefStore, prefixes: readonly string[], hides?: (name: string) => boolean): VisibleRefs {
  const view = prefixes.length === 0 ? store.view() : store.view(prefixes);
  const wantsHead = prefixes.length === 0 || prefixes.some((prefix) => "HEAD".startsWith(prefix));
  return new VisibleRefs(view, wantsHead ? visibleHead(store, view, hides) : undefined, hides);
}

/** Git hides HEAD by its own name only; its value would be that of a branch that is hidden. */
function visibleHead(store: RefStore, view: RefSnapshot, hides?: (name: string) => boolean): RemoteRef | undefined {
  const head = store.head();
  if (isHidden("HEAD", hides)) return undefined;
  if (head.kind === "detached") return { name: "HEAD", oid: head.oid };
  const symref = store.follow(head.ref).name;
  if (isHidden(symref, hides)) return undefined;
  // From the snapshot where it is in it, so that HEAD agrees with its branch.
  const oid = view.find(symref)?.oid ?? head.oid;
  return oid === undefined ? undefined : { name: "HEAD", oid, symref };
}

function isHidden(name: string, hides: ((name: string) => boolean) | undefined): boolean {
  return hides?.(name) === true;
}
