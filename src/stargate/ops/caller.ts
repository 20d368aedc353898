/**
 * Who asks the ops listener. The loopback is trusted, as whoever can open it can usually read the repository too; everyone else
 * needs a token. A request that a proxy passes on comes from the loopback only by its last step, and one that names another host
 * was sent by a web page that had its own name point here (DNS rebinding): neither counts as local.
 */

import { authenticate } from "../http-auth.ts";
import type { Served } from "../service.ts";
import { allows, type Scope } from "../tokens.ts";

export interface Caller {
  readonly isLocal: boolean;
  /** Whether they may see of `served` what `scope` stands for. */
  may(scope: Scope, served: Served): boolean;
}

const PROXIED = ["forwarded", "x-forwarded-for", "x-forwarded-host", "x-real-ip", "via"];
const LOCAL_HOST = /^(?:localhost|127(?:\.\d{1,3}){3}|\[::1\])(?::\d+)?$/i;
const LOCAL_ADDRESS = /^(?:127\.|::1$|::ffff:127\.)/;

/** The caller of `request`, which came from `address`. */
export function callerOf(request: Request, address: string | undefined, now: number): Caller {
  const { headers } = request;
  const isLocal =
    LOCAL_ADDRESS.test(address ?? "") &&
    LOCAL_HOST.test(headers.get("host") ?? "") &&
    !PROXIED.some((name) => headers.has(name));
  return {
    isLocal,
    may: (scope, { gate }) => {
      if (isLocal) return true;
      const found = authenticate(headers.get("authorization"), gate.tokens, now);
      return found.kind === "known" && allows(found.who.scope, scope);
    },
  };
}
