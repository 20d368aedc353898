/** `git kv complete-keys LINE`, for the completion scripts: keys that the last word of a command line may become. */

import * as path from "node:path";
import { utf8ToByteString } from "../bytes.ts";
import type { Program } from "../cli/command.ts";
import { readLine, type TypedWord } from "../cli/completion/line.ts";
import { type Context, Flags } from "../cli/context.ts";
import { KvError } from "../errors.ts";
import { discoverRepository, openRepository } from "../gitwire/repo.ts";
import { listIndex } from "../kv/index-list.ts";
import { keyText } from "../kv/key.ts";
import { workspaceIn } from "./open.ts";

/** More are no help to anybody. */
const MOST = 200;

/** Keys with the beginning that is typed, a line each. Says nothing where there is no store, or what is typed is no key. */
export function completeKeys(program: Program, context: Context): void {
  const typed = readLine(program, context.args.one("line"));
  if (typed?.wants !== "key") return;
  try {
    for (const key of keysFrom(program, context, typed)) context.out.answer(`${key}\n`);
  } catch (error) {
    // Whoever presses the tab key in a folder without a store gets no offer; a fault of ours is still seen.
    if (!(error instanceof KvError)) throw error;
  }
}

function* keysFrom(program: Program, context: Context, { text, globals, folders }: TypedWord): Iterable<string> {
  const cwd = path.resolve(context.cwd, ...folders);
  const place = globals.get("repo");
  const repo =
    place === undefined ? discoverRepository(cwd, context.env) : openRepository(path.resolve(cwd, place), context.env);
  const flags = new Flags(program.globals, new Map(globals));
  const workspace = workspaceIn({ ...context, flags }, repo);
  let count = 0;
  const tree = workspace.state()?.ledger.indexTree;
  if (tree === undefined) return;
  for (const { key, state } of listIndex(repo.objects, tree, { prefix: utf8ToByteString(text) })) {
    if (state.kind === "deleted") continue;
    if (count++ === MOST) return;
    yield keyText(key);
  }
}
