/** `git-kv-stargate token add|list|revoke`. */

import type { Context } from "../../cli/context.ts";
import { KvError } from "../../errors.ts";
import { parseNamespace } from "../../kv/namespace.ts";
import { parseDuration, parseTime } from "../../quantity.ts";
import { stargateDir } from "../settings.ts";
import { SCOPES, type Scope, TokenStore } from "../tokens.ts";
import { oneRepository } from "./common.ts";

/** `token add`: prints the new token, once, alone. */
export function add(context: Context): void {
  const { flags, out, clock } = context;
  const name = flags.value("name");
  if (name === undefined) throw new KvError("USAGE", "--name is missing", { hint: "give the token a name: --name ci" });
  const scope = (flags.value("scope") ?? "write") as Scope;
  if (!SCOPES.includes(scope)) throw new KvError("USAGE", `'${scope}' is no scope`, { hint: SCOPES.join(", ") });
  const now = clock.now() / 1000;
  const expires = expiry(flags.value("expires"), now);
  const given = flags.values("ns").map((name) => parseNamespace(name));
  if (given.length > 0 && scope !== "write") throw new KvError("USAGE", "--ns is for tokens of scope write");
  const namespaces = given.length === 0 ? undefined : given;
  const token = tokens(context).add(name, scope, expires, clock, namespaces);
  const terms = { ...(expires !== undefined && { expires }), ...(namespaces !== undefined && { namespaces }) };
  if (out.json) out.record({ name, scope, token, ...terms });
  else out.line(token);
}

/** `token list`: names and scopes; the tokens themselves are not kept. */
export function list(context: Context): void {
  const { out, clock } = context;
  for (const { name, scope, created, expires, namespaces } of tokens(context).list()) {
    const isExpired = expires !== undefined && expires * 1000 <= clock.now();
    if (out.json) {
      const bound = namespaces === undefined ? {} : { namespaces };
      out.record({ name, scope, created, ...(expires !== undefined && { expires, expired: isExpired }), ...bound });
    } else {
      const until = expires === undefined ? "never expires" : `${isExpired ? "expired" : "expires"} ${date(expires)}`;
      const where = namespaces === undefined ? "" : ` to ${namespaces.join(", ")}`;
      out.line(`${name}\t${scope}${where}\tsince ${date(created)}\t${until}`);
    }
  }
}

/** `token revoke`. */
export function revoke(context: Context): void {
  const name = context.args.one("name");
  tokens(context).revoke(name);
  context.out.note(`revoked ${name}`);
}

function tokens(context: Context): TokenStore {
  return new TokenStore(stargateDir(oneRepository(context).gitDir));
}

/** A time, or a duration from now: a token that had expired already would be of no use. */
function expiry(text: string | undefined, now: number): number | undefined {
  if (text === undefined) return undefined;
  const at = /^\d+\s?[a-z]+$/.test(text.trim()) ? Math.floor(now + parseDuration(text)) : parseTime(text, now);
  if (at <= now) throw new KvError("INPUT_INVALID", `--expires ${text} is in the past`);
  return at;
}

function date(seconds: number): string {
  return new Date(seconds * 1000).toISOString();
}
