/** Reading a remote without a clone, in this process, each time with a cache that the test names. */

import { commit } from "../../src/kv/commit.ts";
import { bringKeys } from "../../src/kv/copy-keys.ts";
import { listPages } from "../../src/kv/copy-listing.ts";
import type { ListRange } from "../../src/kv/index-list.ts";
import { keyText, parseKey } from "../../src/kv/key.ts";
import { withCopy } from "../../src/kv/open-copy.ts";
import { stateFrom } from "../../src/kv/read-from.ts";
import type { RemoteCopy } from "../../src/kv/remote-copy.ts";
import type { NamespaceState } from "../../src/kv/state.ts";
import { type Surroundings, Workspace } from "../../src/kv/workspace.ts";
import { readValue } from "./read.ts";
import { tempDir } from "./temp.ts";
import { countingClock, workspaceAt } from "./workspace.ts";

export interface Reading {
  readonly workspace: Workspace;
  readonly copy: RemoteCopy;
  readonly state: NamespaceState;
}

/** Someone on a machine with nothing but a cache. */
export class Visitor {
  readonly url: string;
  readonly cache: string;
  readonly env: Record<string, string | undefined>;
  readonly warnings: string[] = [];
  /** Requests that the last reading made. */
  requests = 0;

  constructor(url: string, env: Record<string, string | undefined> = {}) {
    this.url = url;
    this.cache = tempDir("cache");
    this.env = { PATH: process.env.PATH, GIT_CONFIG_NOSYSTEM: "1", XDG_CACHE_HOME: this.cache, ...env };
  }

  get around(): Surroundings {
    return {
      env: this.env,
      clock: countingClock(Date.now()),
      signal: new AbortController().signal,
      progress: () => {},
      warn: (text: string) => void this.warnings.push(text),
    };
  }

  /** Opens the newest state and uses it. */
  async read<T>(use: (reading: Reading) => Promise<T>): Promise<T> {
    const { around } = this;
    return withCopy(this.url, around, async (copy) => {
      const workspace = new Workspace(copy.repo, undefined, around, copy);
      const state = await stateFrom(workspace, "local");
      const result = await use({ workspace, copy, state });
      this.requests = copy.requests;
      return result;
    });
  }

  /** Values of keys. */
  get(...keys: string[]): Promise<string[]> {
    return this.read(async ({ copy, state }) => {
      await bringKeys(copy, state, keys.map(parseKey));
      const options = { now: 0, allowExpired: true };
      return keys.map((key) => readValue(copy.repo.objects, state, parseKey(key), options).data.toString());
    });
  }

  /** Keys of a range, up to `limit`. */
  list(range: ListRange = {}, limit?: number): Promise<string[]> {
    return this.read(async ({ copy, state }) => {
      const found: string[] = [];
      for await (const page of listPages(copy, state.ledger.indexTree, range, limit)) {
        for (const { key } of page) if (found.length < (limit ?? Infinity)) found.push(keyText(key));
        if (found.length >= (limit ?? Infinity)) break;
      }
      return found;
    });
  }
}

/** Sets keys in one transaction, each to `text` or to its own name; with `create` the namespace is made first. */
export async function write(
  dir: string,
  keys: readonly string[],
  create = false,
  text?: string,
  ns = "main",
): Promise<void> {
  const workspace = workspaceAt(dir, { ns });
  if (create) await commit(workspace, { create: { epoch: "e1" } }, () => {});
  await commit(workspace, { message: undefined, bytes: 1000 }, async (use) => {
    for (const key of keys) {
      const options = { ctype: undefined, expires: undefined, labels: undefined };
      const value = { kind: "bytes", data: Buffer.from(text ?? `value of ${key}`) } as const;
      await use({ op: "set", key: parseKey(key), value, options, condition: undefined });
    }
  });
  workspace.repo.close();
}
