/** `git-kv-stargate receive-pack DIR` and `upload-pack DIR`: drop-in for git's own programs, for any repository. */

import * as os from "node:os";
import * as path from "node:path";
import type { Context } from "../../cli/context.ts";
import { openRepository, type Repository } from "../../gitwire/repo.ts";
import type { Identity } from "../tokens.ts";
import { serveStdio } from "./stdio.ts";

/** `receive-pack`. */
export async function receivePack(context: Context): Promise<void> {
  const repo = openNamed(context);
  await serveStdio(context, "git-receive-pack", repo, localUser(context));
}

/** `upload-pack`. */
export async function uploadPack(context: Context): Promise<void> {
  const repo = openNamed(context);
  await serveStdio(context, "git-upload-pack", repo, localUser(context));
}

/** The repository that the client asks for, which has to be ours to serve. */
function openNamed({ cwd, args, env }: Context): Repository {
  return openRepository(path.resolve(cwd, args.one("dir")), env, { owned: true });
}

/** Whoever can run this on the repository's folder can do anything to it. */
function localUser({ env }: Context): Identity {
  let name = env.USER ?? env.LOGNAME;
  try {
    name ??= os.userInfo().username;
  } catch {}
  return { name: name ?? "local", scope: "admin", door: "stdio" };
}
