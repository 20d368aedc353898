/** `git kv clone`: a clone that brings the namespaces and writes through the Stargate. */

import * as path from "node:path";
import type { Context } from "../cli/context.ts";
import { KvError } from "../errors.ts";
import { clone, defaultFolder } from "../kv/clone.ts";
import { workspaceIn } from "./open.ts";
import { setUp } from "./remote-setup.ts";

export async function run(context: Context): Promise<void> {
  const { args, flags, out, cwd, env, clock, signal } = context;
  const url = args.one("url");
  const dir = path.resolve(cwd, args.optional("dir") ?? defaultFolder(url));
  const progress = (text: string): void => out.progress(text);
  const heard = (line: string): void => out.heard(line);
  const around = { env, clock, signal, progress, heard, warn: (text: string) => out.warn(text) };
  const repo = await clone(addressFrom(url, cwd), dir, around);
  out.note(`cloned into ${dir}`);
  if (flags.on("no-setup")) return;
  try {
    await setUp(context, workspaceIn(context, repo));
  } catch (error) {
    if (!(error instanceof KvError)) throw error;
    // The clone stands; only writing is not set up.
    throw new KvError(error.code, `cloned, but not set up for writing: ${error.message}`, {
      hint: `mend it, then run 'git kv remote setup' in ${dir}`,
      cause: error,
    });
  }
}

/** A relative path is from here, and the clone is elsewhere. */
function addressFrom(url: string, cwd: string): string {
  const isAddress = /^[a-z][a-z0-9+.-]*:\/\//i.test(url) || /^[^/]*:/.test(url);
  return isAddress ? url : path.resolve(cwd, url);
}
