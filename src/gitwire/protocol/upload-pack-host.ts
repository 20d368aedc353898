/** What a fetch may see of a repository: the sessions (upload-pack.ts, upload-pack-v2.ts) ask nothing else. */

import type { GitConfig } from "../config.ts";
import type { ObjectFormat, Oid } from "../object/oid.ts";
import type { RefStore } from "../refs/ref-store.ts";
import type { ObjectStore } from "../store/object-store.ts";
import { readShallow } from "../store/shallow-file.ts";
import { hiddenRefPatterns, isHidden } from "./hidden-refs.ts";
import type { RemoteRef } from "./ref-advertisement.ts";
import { type UploadPolicy, uploadPolicy } from "./upload-policy.ts";

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
  refs(prefixes?: readonly string[]): readonly RemoteRef[];
  /** HEAD, where its branch does not exist yet. */
  unbornHead(): UnbornHead | undefined;
  /** Commits that are here without their parents. */
  shallow(): readonly Oid[];
  /** Values of the refs that may not be seen. */
  hiddenTips(): readonly Oid[];
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
  const hidden = hiddenRefPatterns(repo.config, "uploadpack");
  return {
    objects: repo.objects,
    refs: (prefixes = []) => visibleRefs(repo.refs, prefixes, hidden),
    unbornHead: () => {
      const head = repo.refs.head();
      if (head.kind === "detached" || head.oid !== undefined || isHidden(head.ref, hidden)) return undefined;
      return { symref: head.ref };
    },
    shallow: () => readShallow(repo.commonDir, repo.format),
    hiddenTips: () =>
      repo.refs
        .snapshot()
        .filter(({ name }) => isHidden(name, hidden))
        .map(({ oid }) => oid),
    policy: uploadPolicy(repo.config, open),
  };
}

function visibleRefs(store: RefStore, prefixes: readonly string[], hidden: readonly string[]): RemoteRef[] {
  const wants = (name: string): boolean => prefixes.length === 0 || prefixes.some((prefix) => name.startsWith(prefix));
  const refs: RemoteRef[] = [];
  const listed = store.snapshot(prefixes.length === 0 ? undefined : withoutNested(prefixes));
  if (wants("HEAD")) {
    const head = store.head();
    if (head.kind === "detached") refs.push({ name: "HEAD", oid: head.oid });
    else if (!isHidden(head.ref, hidden)) {
      // From the snapshot where it is in it, so that HEAD agrees with its branch.
      const oid = listed.find(({ name }) => name === head.ref)?.oid ?? head.oid;
      if (oid !== undefined) refs.push({ name: "HEAD", oid, symref: head.ref });
    }
  }
  for (const ref of listed) {
    if (isHidden(ref.name, hidden) || !wants(ref.name)) continue;
    const peeled = store.peel(ref);
    refs.push(peeled === undefined ? ref : { ...ref, peeled });
  }
  return refs;
}

/** The prefixes under refs/, without those that lie inside another one. */
function withoutNested(prefixes: readonly string[]): string[] {
  const outer: string[] = [];
  for (const prefix of [...prefixes].sort()) {
    // A prefix may also end inside "refs/".
    const full = "refs/".startsWith(prefix) ? "refs/" : prefix;
    const last = outer.at(-1);
    if (full.startsWith("refs/") && (last === undefined || !full.startsWith(last))) outer.push(full);
  }
  return outer;
}
