/** Who is at work, for reflogs (git: ident.c): GIT_COMMITTER_*, then committer.*, then user.*, then the account. */

import * as os from "node:os";
import { type Clock, systemClock } from "../../clock.ts";
import type { GitConfig } from "../config.ts";
import type { Ident } from "../object/commit.ts";

/** The committer now. Never fails: a reflog is better off with a made-up address than not written. */
export function reflogIdent(
  config: GitConfig,
  env: Readonly<Record<string, string | undefined>>,
  clock: Clock = systemClock,
): Ident {
  const account = accountName();
  const name = env.GIT_COMMITTER_NAME || config.get("committer.name") || config.get("user.name") || account;
  const email =
    env.GIT_COMMITTER_EMAIL ||
    config.get("committer.email") ||
    config.get("user.email") ||
    env.EMAIL ||
    `${account}@${os.hostname() || "localhost"}`;
  const now = clock.now();
  return { name, email, seconds: Math.floor(now / 1000), offset: clock.utcOffset(now) };
}

function accountName(): string {
  try {
    return os.userInfo().username || "unknown";
  } catch {
    return "unknown";
  }
}
