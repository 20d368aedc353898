/**
 * What a clone knows of the pieces its Stargate has: the newest chunk commit and its trees, without the pieces.
 *
 * They are kept beside the repository's objects, in `kv/chunk-trees/<ns>@<epoch>`: a ref to a tree whose blobs are missing would
 * make `git gc` and `git fsck` fail. The folder can be thrown away at any time; the next large value then fetches it anew.
 */

import * as fs from "node:fs";
import * as path from "node:path";
import { AGENT } from "../agent.ts";
import type { ObjectSource } from "../gitwire/object/object.ts";
import { isOid, type Oid } from "../gitwire/object/oid.ts";
import { hasSubtree, parseTree } from "../gitwire/object/tree.ts";
import type { BaseSource } from "../gitwire/pack/thin-bases.ts";
import { fetchPack, lsRefs } from "../gitwire/protocol/fetch-pack.ts";
import type { Transport } from "../gitwire/protocol/transport.ts";
import { ObjectStore } from "../gitwire/store/object-store.ts";
import { chunkTipAt, type KnownChunks } from "./chunk-tree.ts";
import { chunkRef } from "./namespace.ts";
import { pushUrl, withConnection } from "./remote-session.ts";
import type { Workspace } from "./workspace.ts";

/** Packs that are fetched one after another before all are fetched anew. */
const MOST_PACKS = 32;

/** What is known of the Stargate's pieces, to be closed: the trees are read from files that nobody else has open. */
export interface OpenChunks extends KnownChunks {
  close(): void;
}

/** The chunk commit at the Stargate's ref, its trees fetched where they are not here. Undefined where there is no such ref. */
export async function fetchChunkTip(workspace: Workspace, epoch: string): Promise<OpenChunks | undefined> {
  const { repo, around, ns } = workspace;
  const ref = chunkRef(ns, epoch);
  return withConnection(repo, around, pushUrl(workspace), "git-upload-pack", async (transport, words) => {
    const { refs } = await lsRefs(transport, [ref], { agent: AGENT });
    const tip = refs.find(({ name }) => name === ref)?.oid;
    if (tip === undefined) return undefined;
    const folder = new TreeFolder(path.join(repo.commonDir, "kv", "chunk-trees", `${ns}@${epoch}`), repo.objects);
    try {
      if (!folder.holds(tip)) await folder.fetch(transport, tip, words.hear);
      return { ...chunkTipAt(folder.source, tip), objects: folder.source, close: () => folder.close() };
    } catch (error) {
      folder.close();
      throw error;
    }
  });
}

class TreeFolder {
  readonly #dir: string;
  readonly #own: ObjectStore;
  /** Trees of the clone's own transactions are among its objects. */
  readonly source: BaseSource;

  constructor(dir: string, objects: ObjectStore) {
    this.#dir = dir;
    this.#own = new ObjectStore(path.join(dir, "objects"), objects.format);
    this.source = joined(objects, this.#own);
  }

  /** Whether the commit and all of its trees are here. */
  holds(commit: Oid): boolean {
    if (!this.source.has(commit)) return false;
    return holdsTree(this.source, chunkTipAt(this.source, commit).tree);
  }

  /** Fetches the commit and those of its trees that the one fetched last did not have. */
  async fetch(transport: Transport, commit: Oid, progress: (text: string) => void): Promise<void> {
    const last = this.#last();
    if (last === undefined) this.#empty();
    const destination = {
      format: this.#own.format,
      objectsDir: this.#own.objectsDir,
      objects: this.#own,
      commonDir: this.#dir,
    };
    await fetchPack(transport, {
      wants: [commit],
      haves: last === undefined ? [] : [last],
      destination,
      agent: AGENT,
      progress,
      scope: { depth: 1, filter: "blob:none" },
    });
    fs.writeFileSync(this.#tipFile, `${commit}\n`);
  }

  close(): void {
    this.#own.close();
  }

  get #tipFile(): string {
    return path.join(this.#dir, "tip");
  }

  /** The commit fetched last, where all that was fetched with it is still here and in few packs. */
  #last(): Oid | undefined {
    if (!fs.existsSync(this.#tipFile)) return undefined;
    const tip = fs.readFileSync(this.#tipFile, "latin1").trim();
    if (!isOid(this.#own.format, tip) || this.#own.ownPacks().length >= MOST_PACKS || !this.#own.has(tip))
      return undefined;
    return holdsTree(this.#own, chunkTipAt(this.#own, tip).tree) ? tip : undefined;
  }

  #empty(): void {
    this.#own.close();
    fs.rmSync(this.#dir, { recursive: true, force: true });
    fs.mkdirSync(path.join(this.#own.objectsDir, "pack"), { recursive: true });
  }
}

/** Whether a chunk tree is here with all of its directories. */
function holdsTree(source: ObjectSource, root: Oid): boolean {
  const data = source.read(root)?.data;
  if (data === undefined) return false;
  return !hasSubtree(source.format, data) || parseTree(source.format, data).every(({ oid }) => holdsTree(source, oid));
}

/** Objects of both stores. */
function joined(first: ObjectStore, second: ObjectStore): BaseSource {
  return {
    format: first.format,
    read: (oid) => second.read(oid) ?? first.read(oid),
    has: (oid) => second.has(oid) || first.has(oid),
    locateAll: (oids) => {
      const all = [...oids];
      return new Map([...first.locateAll(all), ...second.locateAll(all)]);
    },
  };
}
