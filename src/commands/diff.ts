/** `git kv diff`: the keys in which two states differ. */

import { utf8ToByteString } from "../bytes.ts";
import type { Context } from "../cli/context.ts";
import { differences } from "../kv/differences.ts";
import { keyText } from "../kv/key.ts";
import { stateToRead } from "../kv/read-from.ts";
import type { Metadata } from "../kv/record.ts";
import type { NamespaceState } from "../kv/state.ts";
import { isVisible, type KeyDifference } from "../kv/state-diff.ts";
import type { Workspace } from "../kv/workspace.ts";
import { TimeSlice } from "../time-slice.ts";
import { openWorkspace } from "./open.ts";
import { patchText } from "./txn-facts.ts";

export async function run(context: Context): Promise<void> {
  const { flags, args, out, signal } = context;
  const workspace = openWorkspace(context);
  const { objects } = workspace.repo;
  const newest = await stateToRead(workspace);
  const before = await stateAt(workspace, newest, args.one("a"));
  const b = args.optional("b");
  const after = b === undefined ? newest : await stateAt(workspace, newest, b);
  const prefix = utf8ToByteString(flags.value("prefix") ?? "");
  // Loaded here: most look at the list alone.
  const patchOf = flags.on("patch") ? (await import("../kv/value-patch.ts")).valuePatch : undefined;
  let count = 0;
  const slice = new TimeSlice();
  for (const difference of await differences(workspace, newest, [before, after], prefix)) {
    if (slice.isOver()) await slice.pause(signal);
    if (!isVisible(difference)) continue;
    count++;
    if (flags.on("count")) continue;
    const [old, now] = [difference.before?.meta, difference.after?.meta];
    const { key } = difference;
    const patch = patchOf?.(objects, key, { state: before, meta: old }, { state: after, meta: now });
    show(context, difference, patch);
  }
  if (!flags.on("count")) return;
  if (out.json) out.record({ count });
  else out.line(String(count));
}

async function stateAt(workspace: Workspace, newest: NamespaceState, text: string): Promise<NamespaceState> {
  return (await (await import("../kv/at.ts")).momentAt(workspace, newest, text)).state;
}

function show({ out }: Context, { key, before, after }: KeyDifference, patch: string | undefined): void {
  const [sign, op] = before === undefined ? ["+", "add"] : after === undefined ? ["-", "del"] : ["~", "change"];
  if (out.json) {
    out.record({ op, key: keyText(key), before: facts(before?.meta), after: facts(after?.meta), patch });
    return;
  }
  out.line(`${sign} ${out.foreign(keyText(key))}`);
  if (patch !== undefined && patch !== "") out.answer(out.foreign(patchText(patch)));
}

function facts(meta: Metadata | undefined): object | undefined {
  if (meta === undefined) return undefined;
  const { type, size, etag, ctype, rev, expires, labels } = meta;
  return { type, size, etag, ctype, rev, expires, labels };
}
