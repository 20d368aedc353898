/**
 * How much of the other side's history and content a fetch brings, and what that makes of the repository: where its history
 * ends from now on, and whether objects may be missing in it (git: fetch-pack.c, shallow.c, Documentation partial-clone).
 */

import { KvError } from "../../errors.ts";
import { commitLinks } from "../object/commit.ts";
import type { ObjectSource } from "../object/object.ts";
import type { Oid } from "../object/oid.ts";
import type { DepthRequest } from "./fetch-request.ts";
import type { ShallowInfo } from "./fetch-response.ts";
import type { Greeting } from "./ref-advertisement.ts";

/** What a fetch asks for less than everything. */
export interface FetchScope {
  /** Commits of the history, from the wanted ones on; {@link WHOLE_HISTORY} for all of it in a shallow repository. */
  readonly depth?: number;
  /** `depth` counts from where the local history ends. */
  readonly relative?: boolean;
  /** Only commits of this time (Unix seconds) or later. */
  readonly since?: number;
  /** Only commits that these refs of the server do not reach. */
  readonly notIn?: readonly string[];
  /** Leaves objects out (git's `--filter`); a server that knows no filters sends all of them. */
  readonly filter?: string;
  /** The repository is a partial clone of this server already: what is missing here is to be had there. */
  readonly partial?: boolean;
}

/** The depth at which nothing is left out any more. */
export const WHOLE_HISTORY = 0x7fffffff;

/** The request for `scope` of a repository whose history ends at `shallow`. Throws UNSUPPORTED where the server cannot do it. */
export function depthRequest(
  scope: FetchScope,
  shallow: readonly Oid[],
  greeting: Greeting,
  url: string,
): DepthRequest {
  const { depth, relative = false, since, notIn = [], filter } = scope;
  const asks = depth !== undefined || since !== undefined || notIn.length > 0;
  const need = (feature: string): void => {
    if (offers(greeting, feature)) return;
    throw new KvError("UNSUPPORTED", `${url} does not serve shallow repositories ('${feature}' is not offered)`);
  };
  if (asks || shallow.length > 0) need("shallow");
  // In v2 one word stands for all ways to say how deep.
  if (greeting.kind === "refs") {
    if (since !== undefined) need("deepen-since");
    if (notIn.length > 0) need("deepen-not");
    if (relative) need("deepen-relative");
  }
  return {
    shallow,
    deepenNot: notIn,
    deepenRelative: relative,
    ...(depth === undefined ? {} : { deepen: depth }),
    ...(since === undefined ? {} : { deepenSince: since }),
    ...(filter === undefined || !offers(greeting, "filter") ? {} : { filter }),
  };
}

/** Whether the server offers a feature of its fetch. */
function offers(greeting: Greeting, feature: string): boolean {
  if (greeting.kind === "refs") return greeting.capabilities.has(feature);
  return greeting.capabilities.get("fetch")?.some((value) => value.split(" ").includes(feature)) === true;
}

/** How the ends of the local history move. */
export interface MovedEnds {
  /** All of them, afterwards. */
  readonly ends: ReadonlySet<Oid>;
  /** Commits that were ends and now need their parents. */
  readonly opened: readonly Oid[];
  readonly changed: boolean;
}

/**
 * Where the history ends after a fetch. `info`: what the server said; `theirs`: where its own history ends, which becomes our
 * end wherever we have such a commit and not all of its parents. Throws PROTOCOL where the server speaks of other commits.
 */
export function moveEnds(
  ours: readonly Oid[],
  info: ShallowInfo | undefined,
  theirs: readonly Oid[],
  objects: ObjectSource,
): MovedEnds {
  const ends = new Set(ours);
  for (const oid of info?.shallow ?? []) {
    if (objects.read(oid)?.kind !== "commit") {
      throw new KvError("PROTOCOL", `the server ends the history at ${oid}, a commit it did not send`);
    }
    ends.add(oid);
  }
  const opened = info?.unshallow ?? [];
  for (const oid of opened) {
    if (!ends.delete(oid))
      throw new KvError("PROTOCOL", `the server continues the history at ${oid}, where it did not end`);
  }
  for (const oid of theirs) if (parentsOf(objects, oid).some((parent) => !objects.has(parent))) ends.add(oid);
  return { ends, opened, changed: ends.size !== ours.length || ours.some((oid) => !ends.has(oid)) };
}

/** Parents of a commit; none where it is not here. */
export function parentsOf(objects: ObjectSource, oid: Oid): readonly Oid[] {
  const object = objects.read(oid);
  return object?.kind === "commit" ? commitLinks(objects.format, object.data).parents : [];
}
