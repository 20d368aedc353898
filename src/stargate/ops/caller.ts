/**
 * Who asks the ops listener. The loopback is trusted, as whoever can open it can usually read the repository too; everyone else
 * needs a token. A request that a proxy passes on comes from the loopback only by its last step, and one that names another host
 * was sent by a web page that had its own name point here (DNS rebinding): neither counts as local.
 */

import { authenticate } from "../http-auth.ts";
import type { LoginThrottle } from "../login-throttle.ts";
import type { Served } from "../service.ts";
import { allows, type Scope } from "../tokens.ts";

export interface Caller {
  readonly isLocal: boolean;
  /** Milliseconds before a token of theirs is looked at again; meanwhile they are nobody, whatever they give. */
  readonly wait: number;
  /** Whether they may see of `served` what `scope` stands for. */
  may(scope: Scope, served: Served): boolean;
}

const PROXIED = ["forwarded", "x-forwarded-for", "x-forwarded-host", "x-real-ip", "via"];
const LOCAL_HOST = /^(?:localhost|127(?:\.\d{1,3}){3}|\[::1\])(?::\d+)?$/i;
const LOCAL_ADDRESS = /^(?:127\.|::1$|::ffff:127\.)/;

/** What a caller is told by. */
export interface CallerOptions {
  /** Where the request came from. */
  readonly address: string | undefined;
  /** The repositories a token may be of. */
  readonly served: readonly Served[];
  readonly throttle: LoginThrottle;
  readonly now: number;
}

/** The caller of `request`. */
export function callerOf({ headers }: Request, { address = "", served, throttle, now }: CallerOptions): Caller {
  const isLocal =
    LOCAL_ADDRESS.test(address) &&
    LOCAL_HOST.test(headers.get("host") ?? "") &&
    !PROXIED.some((name) => headers.has(name));
  if (isLocal) return { isLocal, wait: 0, may: () => true };
  const header = headers.get("authorization");
  const scopes = new Map<Served, Scope>();
  let name: string | undefined;
  for (const each of served) {
    const found = authenticate(header, each.gate.tokens, now);
    if (found.kind === "none") break;
    if (found.kind === "wrong") continue;
    scopes.set(each, found.who.scope);
    name ??= `${each.name} ${found.who.name}`;
  }
  const hasToken = header !== null && header !== "";
  const wait = hasToken ? throttle.admit(address, name, now) : 0;
  if (wait > 0) scopes.clear();
  return { isLocal, wait, may: (scope, each) => scopes.has(each) && allows(scopes.get(each)!, scope) };
}
