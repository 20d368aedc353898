/**
 * Where the history that a fetch hands over ends (git: gitprotocol-pack "shallow", gitprotocol-v2 "shallow-info";
 * get_shallow_commits and get_shallow_commits_by_rev_list in shallow.c, send_shallow and send_unshallow in upload-pack.c).
 *
 * A request names the commits at which the client's history ends and says how much further, or less far, it is to go. The
 * answer names the new ends, and those of the old ones that are ends no longer. The pack then holds what lies between: the
 * walk for it never goes past an end, neither from what is wanted nor from what the client has.
 */

import { KvError } from "../../errors.ts";
import { TimeSlice } from "../../time-slice.ts";
import type { ObjectSource } from "../object/object.ts";
import type { Oid } from "../object/oid.ts";
import { withRoom } from "../pack/grow.ts";
import { CommitGraph, commitOf } from "./commit-graph.ts";
import type { DepthRequest } from "./fetch-request.ts";
import type { ShallowInfo } from "./fetch-response.ts";
import type { RemoteRef } from "./ref-advertisement.ts";
import { revisionRange } from "./revision-range.ts";

/** The refs that `deepen-not` may name. */
export interface RefsByName {
  find(name: string): RemoteRef | undefined;
}

/** What a fetch comes to once it is known where the history ends. */
export interface Boundary {
  /** What the client is told. */
  readonly info: ShallowInfo;
  /** The history as the client will have it. */
  readonly graph: CommitGraph;
  /** Commits below the ends that are ends no longer: wanted too. */
  readonly wants: readonly Oid[];
  /** Those former ends: the client has them, but not what is below. */
  readonly haves: readonly Oid[];
}

/** From this depth on the whole history is meant (git: INFINITE_DEPTH). */
const INFINITE = 0x7fffffff;

/**
 * Finds the ends. `refs`: those the client may name in `deepen-not`. Throws PROTOCOL in git's words where the request makes
 * no sense.
 */
export async function findBoundary(
  source: ObjectSource,
  graph: CommitGraph,
  request: DepthRequest,
  wants: readonly Oid[],
  refs: RefsByName,
): Promise<Boundary> {
  const { deepen, deepenSince, deepenNot } = request;
  const byRevision = deepenSince !== undefined || deepenNot.length > 0;
  if (deepen !== undefined && byRevision) {
    throw new KvError("PROTOCOL", "git upload-pack: deepen and deepen-since (or deepen-not) cannot be used together");
  }
  const theirs = await clientEnds(source, graph, request.shallow);
  const heads = wants.map((oid) => commitOf(source, graph, oid)).filter((commit) => commit >= 0);
  if (byRevision) {
    const since = deepenSince ?? 0;
    const excluded = deepenNot.map((name) => commitOf(source, graph, resolve(name, refs)));
    return boundaryOf(graph, theirs, await endsOfRange(graph, heads, theirs, excluded, since));
  }
  if (deepen === undefined) {
    // The client's history ends where it did, and where ours does.
    const cut = new CommitGraph(
      graph,
      theirs.map((commit) => graph.oid(commit)),
    );
    const ends = graph.isShallow ? await endsAtDepth(cut, heads, INFINITE) : NO_ENDS;
    return boundaryOf(graph, theirs, { ends: ends.ends, isInner: () => false });
  }
  if (deepen >= INFINITE && !graph.isShallow) return boundaryOf(graph, theirs, { ends: [], isInner: () => true });
  if (!request.deepenRelative) return boundaryOf(graph, theirs, await endsAtDepth(graph, heads, deepen));
  const reached = await reachable(graph, heads, theirs);
  return boundaryOf(graph, theirs, await endsAtDepth(graph, reached, Math.min(deepen + 1, INFINITE)));
}

/** Commits where a history ends, and which ones lie inside it, with all their parents. */
interface Ends {
  readonly ends: readonly number[];
  isInner(commit: number): boolean;
}

const NO_ENDS: Ends = { ends: [], isInner: () => false };

function boundaryOf(graph: CommitGraph, theirs: readonly number[], { ends, isInner }: Ends): Boundary {
  const known = new Set(theirs);
  const shallow = ends.filter((commit) => !known.has(commit)).map((commit) => graph.oid(commit));
  const opened = theirs.filter((commit) => isInner(commit));
  const haves = opened.map((commit) => graph.oid(commit));
  const below = new Set(opened.flatMap((commit) => graph.parents(commit)));
  return {
    info: { shallow, unshallow: haves },
    graph: new CommitGraph(graph, [...theirs.map((commit) => graph.oid(commit)), ...shallow]),
    wants: [...below].map((commit) => graph.oid(commit)),
    haves,
  };
}

/** The client's ends, as far as we know these commits. */
async function clientEnds(source: ObjectSource, graph: CommitGraph, oids: readonly Oid[]): Promise<number[]> {
  const ends = new Set<number>();
  const slice = new TimeSlice();
  for (const oid of oids) {
    if (slice.isOver()) await slice.pause();
    if (!source.has(oid)) continue;
    const commit = graph.find(oid);
    if (commit < 0) throw new KvError("PROTOCOL", `invalid shallow object ${oid}`);
    ends.add(commit);
  }
  return [...ends];
}

/** The commits that take at least `depth` steps to reach, the heads being one, and those where our own history ends. */
async function endsAtDepth(graph: CommitGraph, heads: readonly number[], depth: number): Promise<Ends> {
  const marks = new Marks();
  const ends: number[] = [];
  const slice = new TimeSlice();
  let level = [...new Set(heads)];
  for (const commit of level) marks.set(commit, SEEN);
  for (let steps = 1; level.length > 0; steps++) {
    const next: number[] = [];
    for (const commit of level) {
      if (slice.isOver()) await slice.pause();
      if (steps >= depth || graph.isCut(commit)) {
        ends.push(commit);
        continue;
      }
      marks.set(commit, INNER);
      for (const parent of loadedParents(graph, commit)) {
        if (marks.get(parent) !== 0) continue;
        marks.set(parent, SEEN);
        next.push(parent);
      }
    }
    level = next;
  }
  return { ends, isInner: (commit) => marks.get(commit) === INNER };
}

/**
 * The ends of what can be reached from `heads` but not from `excluded`, through commits of `since` or later. A commit that can be
 * reached through another end only is none: it is not sent, and a client that was told of it could never deepen again.
 */
async function endsOfRange(
  graph: CommitGraph,
  heads: readonly number[],
  theirs: readonly number[],
  excluded: readonly number[],
  since: number,
): Promise<Ends> {
  const range = await revisionRange(
    graph,
    heads,
    excluded.filter((commit) => commit >= 0),
  );
  const marks = new Marks();
  for (const commit of range) if (graph.date(commit) >= since) marks.set(commit, SEEN);
  const pending = heads.filter((commit) => marks.get(commit) === SEEN);
  if (pending.length === 0) throw new KvError("PROTOCOL", "no commits selected for shallow requests");
  const chosen: number[] = [];
  const slice = new TimeSlice();
  for (let commit = pending.pop(); commit !== undefined; commit = pending.pop()) {
    if (slice.isOver()) await slice.pause();
    if (marks.get(commit) !== SEEN) continue;
    marks.set(commit, INNER);
    chosen.push(commit);
    pending.push(...graph.parents(commit));
  }
  const isEnd = (commit: number): boolean =>
    graph.isCut(commit) || graph.parents(commit).some((parent) => marks.get(parent) !== INNER);
  const open = new Set(chosen.filter(isEnd));
  const isInner = (commit: number): boolean => marks.get(commit) === INNER && !open.has(commit);
  const ends = await firstEnds(graph, [...heads, ...theirs.filter(isInner)], open);
  return { ends, isInner };
}

/** Those of `ends` that can be reached from `from` without passing another. */
async function firstEnds(graph: CommitGraph, from: readonly number[], ends: ReadonlySet<number>): Promise<number[]> {
  const marks = new Marks();
  const first: number[] = [];
  const pending = [...from];
  const slice = new TimeSlice();
  for (let commit = pending.pop(); commit !== undefined; commit = pending.pop()) {
    if (slice.isOver()) await slice.pause();
    if (marks.get(commit) === SEEN) continue;
    marks.set(commit, SEEN);
    if (ends.has(commit)) first.push(commit);
    else pending.push(...graph.parents(commit));
  }
  return first;
}

/** Those of `commits` that can be reached from `heads`. */
async function reachable(graph: CommitGraph, heads: readonly number[], commits: readonly number[]): Promise<number[]> {
  const left = new Set(commits);
  const marks = new Marks();
  const pending = [...heads];
  const slice = new TimeSlice();
  for (let commit = pending.pop(); commit !== undefined && left.size > 0; commit = pending.pop()) {
    if (marks.get(commit) !== 0) continue;
    marks.set(commit, SEEN);
    left.delete(commit);
    pending.push(...loadedParents(graph, commit));
    if (slice.isOver()) await slice.pause();
  }
  return commits.filter((commit) => !left.has(commit));
}

function loadedParents(graph: CommitGraph, commit: number): readonly number[] {
  const parents = graph.parents(commit);
  for (const parent of parents) {
    if (graph.load(parent)) continue;
    throw new KvError("CORRUPT", `commit ${graph.oid(parent)}, a parent of ${graph.oid(commit)}, is missing`);
  }
  return parents;
}

const SEEN = 1;
const INNER = 2;

/** A small number for each commit, 0 at first. */
class Marks {
  #marks = new Uint8Array(256);

  get(commit: number): number {
    return this.#marks[commit] ?? 0;
  }

  set(commit: number, mark: number): void {
    this.#marks = withRoom(this.#marks, commit);
    this.#marks[commit] = mark;
  }
}

/** What short names of refs stand for, in git's order (gitrevisions). */
const RULES: readonly ((name: string) => string)[] = [
  (name) => name,
  (name) => `refs/${name}`,
  (name) => `refs/tags/${name}`,
  (name) => `refs/heads/${name}`,
  (name) => `refs/remotes/${name}`,
  (name) => `refs/remotes/${name}/HEAD`,
];

/** Value of the ref that `name` stands for. Throws PROTOCOL unless it is exactly one. */
function resolve(name: string, refs: RefsByName): Oid {
  const found = RULES.flatMap((rule) => refs.find(rule(name)) ?? []);
  if (found.length === 1) return found[0]!.oid;
  throw new KvError("PROTOCOL", `git upload-pack: ambiguous deepen-not: deepen-not ${name.slice(0, 200)}`);
}
