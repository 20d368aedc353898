/** The answer of `git kv serve` about one key (docs/serve.md). */

import { KvError } from "../../errors.ts";
import { isOid } from "../../gitwire/object/oid.ts";
import { LIMITS } from "../../limits.ts";
import { formatTime } from "../../time.ts";
import { type ByteRange, parseRange } from "../byte-range.ts";
import { readManifest } from "../chunked-value.ts";
import { isExpired } from "../expiry.ts";
import { type Key, keyText } from "../key.ts";
import { type FoundKey, findKey, hasExpired, inlineValue } from "../read.ts";
import { hidesExpired } from "../read-expiry.ts";
import { type NamespaceState, stateAt } from "../state.ts";
import { facts, jsonValue } from "../value-record.ts";
import type { Workspace } from "../workspace.ts";
import { json, matches, SAFE_HEADERS } from "./answers.ts";
import type { Follower } from "./follower.ts";
import { openValue } from "./value-stream.ts";

/** Largest value that is put into JSON. */
const MOST_JSON = 16 * 1024 * 1024;

/** What is asked. */
export interface KeyQuery {
  readonly key: Key;
  readonly isHead: boolean;
  readonly params: URLSearchParams;
  readonly headers: Headers;
  /** Aborted when the client is gone. */
  readonly signal: AbortSignal;
}

/** A key as it stands in a state, or why it is not there. */
type Look =
  | { readonly state: NamespaceState; readonly found: FoundKey; readonly error?: undefined }
  | { readonly state: NamespaceState; readonly found?: undefined; readonly error: KvError };

/** Answers. Throws KEY_NOT_FOUND, KEY_EXPIRED, INPUT_INVALID and so on. */
export async function answerKey(workspace: Workspace, follower: Follower, query: KeyQuery): Promise<Response> {
  const { params, headers, isHead } = query;
  const wait = waitOf(params);
  const isJson = params.has("json");
  let look = await lookAt(workspace, follower.state(), query.key);
  const since = params.get("since") ?? headers.get("if-none-match") ?? undefined;
  const known = since === undefined ? tagOf(look, isJson) : await knownTag(workspace, query, since, isJson);
  const isSame = (): boolean => {
    const tag = tagOf(look, isJson);
    return known === undefined ? tag === undefined : matches(known, tag);
  };
  const end = performance.now() + wait;
  while (isSame() && !follower.isStopped && !query.signal.aborted && performance.now() < end) {
    await follower.changed(look.state, Math.min(end - performance.now(), lifeOf(workspace, look)), query.signal);
    look = await lookAt(workspace, follower.state(), query.key);
  }
  if (look.error !== undefined) throw look.error;
  const common = describe(look.state, look.found, tagOf(look, isJson)!);
  if ((since !== undefined || wait > 0) && isSame()) return new Response(null, { status: 304, headers: common });
  return isJson
    ? answerJson(workspace, look.state, look.found, common)
    : answerRaw(workspace, look.found, common, headers, isHead);
}

/** Milliseconds until the key expires, which no transaction tells; infinite where it does not, or has. */
function lifeOf({ around }: Workspace, { found }: Look): number {
  const left = (found?.meta.expires ?? 0) * 1000 - around.clock.now();
  return left > 0 ? left : Number.POSITIVE_INFINITY;
}

async function lookAt(workspace: Workspace, state: NamespaceState, key: Key): Promise<Look> {
  const { copy, repo } = workspace;
  try {
    if (copy !== undefined) await (await import("../copy-keys.ts")).bringKeys(copy, state, [key]);
    const found = findKey(repo.objects, state, key, { now: 0, allowExpired: true });
    const { expires } = found.meta;
    if (isExpired(expires, workspace.now()) && (await hidesExpired(workspace, state))) throw hasExpired(key, expires!);
    return { state, found };
  } catch (error) {
    if (error instanceof KvError && (error.code === "KEY_NOT_FOUND" || error.code === "KEY_EXPIRED"))
      return { state, error };
    throw error;
  }
}

/** The entity tag: of the bytes, or of the record, whose revision is in it; undefined where there is no value. */
function tagOf({ found }: Look, isJson: boolean): string | undefined {
  if (found === undefined) return undefined;
  const digest = found.meta.etag.replace(/^blake3:/, "");
  return isJson ? `"${digest}-${found.meta.rev}"` : `"${digest}"`;
}

/** What a client says it knows: an entity tag, or a ledger commit, at which the key had one or had none. */
async function knownTag(
  workspace: Workspace,
  { key, params }: KeyQuery,
  since: string,
  isJson: boolean,
): Promise<string | undefined> {
  const { format, objects } = workspace.repo;
  if (!params.has("since") || !isOid(format, since)) return since.includes('"') || since === "*" ? since : `"${since}"`;
  if (workspace.copy === undefined && !objects.has(since)) {
    throw new KvError("INPUT_INVALID", `since: there is no ledger commit ${since} here`);
  }
  const read = (): NamespaceState => stateAt(objects, since);
  const state = await (workspace.copy === undefined ? read() : workspace.copy.through(read));
  return tagOf(await lookAt(workspace, state, key), isJson);
}

/** `wait`, in milliseconds. */
function waitOf(params: URLSearchParams): number {
  const text = params.get("wait");
  if (text === null) return 0;
  if (/^\d{1,6}(\.\d{1,3})?$/.test(text)) return Math.min(Number(text) * 1000, LIMITS.servedWait);
  throw new KvError("INPUT_INVALID", `wait: '${text.slice(0, 40)}' is no number of seconds`);
}

function describe({ ledger }: NamespaceState, { meta }: FoundKey, tag: string): Record<string, string> {
  return {
    ...SAFE_HEADERS,
    ETag: tag,
    "X-Kv-Revision": String(meta.rev),
    "X-Kv-Commit": ledger.oid,
    "X-Kv-Seq": String(ledger.seq),
    ...(meta.expires !== undefined && { "X-Kv-Expires": formatTime(meta.expires) }),
  };
}

async function answerJson(
  workspace: Workspace,
  { ns, ledger }: NamespaceState,
  found: FoundKey,
  headers: Record<string, string>,
): Promise<Response> {
  const { meta, key } = found;
  if (meta.size > MOST_JSON) {
    throw new KvError("LIMIT_EXCEEDED", `${JSON.stringify(keyText(key))} has ${meta.size} bytes, too many for JSON`, {
      hint: "ask for it without 'json', or for a part of it with 'Range'",
    });
  }
  const data = meta.type === "inline" ? inlineValue(workspace.repo.objects, found) : await gather(workspace, found);
  const record = { key: keyText(key), ...jsonValue(data), ...facts(found), ns, commit: ledger.oid, seq: ledger.seq };
  return json(200, record, headers);
}

async function gather(workspace: Workspace, found: FoundKey): Promise<Buffer> {
  const manifest = readManifest(workspace.repo.objects, found);
  const stream = await openValue(workspace, manifest, { start: 0, end: manifest.size });
  return Buffer.from(await new Response(stream).arrayBuffer());
}

async function answerRaw(
  workspace: Workspace,
  found: FoundKey,
  common: Record<string, string>,
  asked: Headers,
  isHead: boolean,
): Promise<Response> {
  const { meta } = found;
  const part = rangeOf(asked, common.ETag!, meta.size);
  const range = part ?? { start: 0, end: meta.size };
  const headers = {
    ...common,
    "Content-Type": meta.ctype,
    "Accept-Ranges": "bytes",
    "Content-Length": String(range.end - range.start),
    ...(part !== undefined && { "Content-Range": `bytes ${part.start}-${part.end - 1}/${meta.size}` }),
  };
  const status = part === undefined ? 200 : 206;
  if (isHead || range.start === range.end) return new Response(null, { status, headers });
  if (meta.type === "inline") {
    const data = inlineValue(workspace.repo.objects, found);
    return new Response(data.subarray(range.start, range.end), { status, headers });
  }
  const manifest = readManifest(workspace.repo.objects, found);
  return new Response(await openValue(workspace, manifest, range), { status, headers });
}

/**
 * The one range that is asked for; undefined: all of it, which is also the answer to several ranges and to what is no range of bytes (RFC
 * 9110, section 14.2). Throws INPUT_INVALID with `data.size` where no byte is in it.
 */
function rangeOf(asked: Headers, tag: string, size: number): ByteRange | undefined {
  const [, text] = /^bytes=\s*(\d*-\d*)\s*$/.exec(asked.get("range") ?? "") ?? [];
  const condition = asked.get("if-range");
  if (text === undefined || text === "-" || (condition !== null && condition !== tag)) return undefined;
  const [first, last] = text.split("-");
  if (first !== "" && last !== "" && Number(last) < Number(first)) return undefined;
  try {
    return parseRange(text, size);
  } catch (error) {
    throw new KvError("INPUT_INVALID", `the value has ${size} bytes, ${text} is none of them`, {
      cause: error,
      data: { size },
    });
  }
}
