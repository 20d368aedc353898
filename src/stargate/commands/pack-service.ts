/** `git-kv-stargate receive-pack DIR` and `upload-pack DIR`: drop-in for git's own programs, for any repository. */

import * as os from "node:os";
import * as path from "node:path";
import type { Context } from "../../cli/context.ts";
import { openRepository } from "../../gitwire/repo.ts";
import type { Identity } from "../tokens.ts";
import { serveStdio } from "./stdio.ts";

/** `receive-pack`. */
export async function receivePack(context: Context): Promise<void> {
  const repo = openRepository(path.resolve(context.cwd, context.args.one("dir")), context.env);
  await serveStdio(context, "git-receive-pack", repo, localUser(context));
}

/** `upload-pack`. */
export async function uploadPack(context: Context): Promise<void> {
  const repo = openRepository(path.resolve(context.cwd, context.args.one("dir")), context.env);
  await serveStdio(context, "git-upload-pack", repo, localUser(context));
}

/** Whoever can run this on the repository's folder can do anything to it. */
function localUser({ env }: Context): Identity {
  let name = env.USER ?? env.LOGNAME;
  try {
    name ??= os.userInfo().username;
  } catch {}
  return { name: name ?? "local", scope: "admin", door: "stdio" };
}
