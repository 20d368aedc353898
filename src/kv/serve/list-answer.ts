/** The answer of `git kv serve` about the keys of a prefix: JSON that is written as it is read (docs/serve.md). */

import { utf8ToByteString } from "../../bytes.ts";
import { KvError } from "../../errors.ts";
import { LIMITS } from "../../limits.ts";
import { formatTime } from "../../time.ts";
import { isExpired } from "../expiry.ts";
import { type IndexEntry, type ListRange, listIndex } from "../index-list.ts";
import { keyText, parseKey } from "../key.ts";
import { hidesExpired } from "../read-expiry.ts";
import type { NamespaceState } from "../state.ts";
import type { Workspace } from "../workspace.ts";
import { matches, SAFE_HEADERS } from "./answers.ts";

/** Text that is gathered before it is sent. */
const PORTION = 32 * 1024;

/** Answers for one state. Throws INPUT_INVALID, KEY_INVALID. */
export async function answerList(
  workspace: Workspace,
  state: NamespaceState,
  params: URLSearchParams,
  asked: Headers,
): Promise<Response> {
  const limit = limitOf(params.get("limit"));
  const after = params.get("after");
  const range = {
    prefix: utf8ToByteString(params.get("prefix") ?? ""),
    ...(after !== null && { after: parseKey(after) }),
  };
  // Weak: what has expired meanwhile is not in it.
  const tag = `W/"${state.ledger.indexTree}"`;
  const headers = {
    ...SAFE_HEADERS,
    ETag: tag,
    "X-Kv-Commit": state.ledger.oid,
    "X-Kv-Seq": String(state.ledger.seq),
  };
  if (matches(asked.get("if-none-match") ?? "", tag)) return new Response(null, { status: 304, headers });
  // Of an answer to HEAD nothing is read, and its length is not told as none.
  const body = stream(write(workspace, state, range, limit));
  return new Response(body, { headers: { ...headers, "Content-Type": "application/json" } });
}

function limitOf(text: string | null): number {
  if (text === null) return LIMITS.servedKeys;
  const limit = /^\d{1,7}$/.test(text) ? Number(text) : 0;
  if (limit > 0 && limit <= LIMITS.servedKeysMost) return limit;
  throw new KvError("INPUT_INVALID", `limit: '${text.slice(0, 40)}' is no number from 1 to ${LIMITS.servedKeysMost}`);
}

/** The text of the answer, bit by bit. */
async function* write(
  workspace: Workspace,
  state: NamespaceState,
  range: ListRange,
  limit: number,
): AsyncGenerator<string, void, undefined> {
  const { ns, ledger } = state;
  yield `{"ns":${JSON.stringify(ns)},"commit":"${ledger.oid}","seq":${ledger.seq},"keys":[`;
  const now = workspace.now();
  let hides: boolean | undefined;
  let count = 0;
  let last: string | undefined;
  let isMore = false;
  for await (const page of await pagesOf(workspace, state, range, limit)) {
    for (const entry of page) {
      if (entry.state.kind === "deleted") continue;
      const { expires } = entry.state;
      if (isExpired(expires, now)) {
        hides ??= await hidesExpired(workspace, state);
        if (hides) continue;
      }
      isMore = count === limit;
      if (isMore) break;
      last = keyText(entry.key);
      yield `${count++ === 0 ? "" : ","}\n${JSON.stringify({ key: last, ...(expires !== undefined && { expires: formatTime(expires) }) })}`;
    }
    if (isMore) break;
  }
  yield `\n]${isMore ? `,"next":${JSON.stringify(last)}` : ""}}\n`;
}

async function pagesOf({ repo, copy }: Workspace, { ledger }: NamespaceState, range: ListRange, limit: number) {
  if (copy === undefined) return pages(listIndex(repo.objects, ledger.indexTree, range));
  const { listPages } = await import("../copy-listing.ts");
  return listPages(copy, ledger.indexTree, range, limit + 1);
}

function* pages(entries: Iterable<IndexEntry>): Generator<Iterable<IndexEntry>> {
  yield entries;
}

/** A stream that is written as fast as it is read. */
function stream(text: AsyncGenerator<string, void, undefined>): ReadableStream<Uint8Array> {
  return new ReadableStream<Uint8Array>(
    {
      pull: async (controller) => {
        let portion = "";
        while (portion.length < PORTION) {
          const { done, value } = await text.next();
          if (done) {
            if (portion !== "") controller.enqueue(Buffer.from(portion));
            return controller.close();
          }
          portion += value;
        }
        controller.enqueue(Buffer.from(portion));
      },
      cancel: async () => {
        await text.return();
      },
    },
    { highWaterMark: 0 },
  );
}
