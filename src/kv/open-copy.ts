/** Opens a remote to read from it without a clone. */

import { isNoRoom, KvError } from "../errors.ts";
import { GitConfig } from "../gitwire/config.ts";
import { objectFormat } from "../gitwire/object/oid.ts";
import { rewriteUrl } from "../gitwire/transport/remote.ts";
import { type CacheFolder, cacheFolder, openCache, type RemoteFacts, readFacts } from "./cache-folder.ts";
import { RemoteCopy } from "./remote-copy.ts";
import type { Surroundings } from "./workspace.ts";

/**
 * Runs `use` on the copy of the remote at `address`, which `url.<base>.insteadOf` may rewrite. Where the remote's objects turn out to
 * be of another format than was thought, `use` is run again: nothing can have been read before. Throws INPUT_INVALID, NETWORK, IO and so on.
 */
export async function withCopy<T>(
  address: string,
  around: Surroundings,
  use: (copy: RemoteCopy) => Promise<T>,
): Promise<T> {
  let learned: RemoteFacts | undefined;
  for (;;) {
    const { copy, folder } = copyOf(address, learned, around);
    try {
      return await use(copy);
    } catch (error) {
      // An id that was given may be one of the remote's format, which nobody has asked for yet.
      const isUnasked = copy.facts.isGuess && error instanceof KvError && error.code === "INPUT_INVALID";
      if (isUnasked) await copy.tips(["HEAD"]).catch(() => {});
      if (learned !== undefined || !copy.isOfOtherFormat) throw ofCache(folder, error);
      learned = copy.facts;
    } finally {
      await copy.close();
    }
  }
}

/** A copy of the remote at `address`, for the caller to close. Throws as {@link withCopy}. */
export async function openCopy(address: string, around: Surroundings): Promise<RemoteCopy> {
  const { copy, folder } = copyOf(address, undefined, around);
  try {
    // Of which format the objects are must be known before the first of them is asked for.
    if (copy.facts.isGuess) await copy.tips(["HEAD"]);
    return copy;
  } catch (error) {
    await copy.close();
    if (!copy.isOfOtherFormat) throw ofCache(folder, error);
    return copyOf(address, copy.facts, around).copy;
  }
}

/** Opens the cache of the remote, by what is known of that: `learned` just now, or at another time, or what most are like. */
function copyOf(
  address: string,
  learned: RemoteFacts | undefined,
  around: Surroundings,
): { readonly copy: RemoteCopy; readonly folder: CacheFolder } {
  const { env } = around;
  const url = rewriteUrl(GitConfig.load({ env }), address);
  const shown = withoutPassword(url);
  const folder = cacheFolder(shown, env);
  const known = learned ?? readFacts(folder);
  const guess: RemoteFacts = { url: shown, isGuess: true, format: "sha1", features: MOST, filters: "deep", seen: {} };
  const facts = known?.url === shown ? known : guess;
  const copy = naming(folder, () => {
    return new RemoteCopy(url, openCache(folder, objectFormat(facts.format), env), folder, facts, around);
  });
  return { copy, folder };
}

function naming<T>(folder: CacheFolder, work: () => T): T {
  try {
    return work();
  } catch (error) {
    throw ofCache(folder, error);
  }
}

/** What the system says of a full disk names no file: all that is written here is the cache. What is an error of ours already stays as it is. */
function ofCache({ dir }: CacheFolder, error: unknown): unknown {
  if (!isNoRoom(error)) return error;
  return new KvError("STORAGE", `cannot write the cache in ${dir}: ${(error as Error).message}`, {
    hint: "free space there, or name another folder in XDG_CACHE_HOME",
    cause: error,
  });
}

/** What most hosts' upload-pack can do. */
const MOST = ["shallow", "filter"];

/** The address as the cache knows it: whoever reads it is told by the remote what he may see. */
function withoutPassword(url: string): string {
  return url.replace(/^([a-z][a-z0-9+.-]*:\/\/)([^/?#@]*)@/i, (_, scheme: string, user: string) => {
    return /^https?:/i.test(scheme) ? scheme : `${scheme}${user.split(":", 1)[0]}@`;
  });
}
