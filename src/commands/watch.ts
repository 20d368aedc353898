/** `git kv watch`: one line for every key that changes. */

import { utf8ToByteString } from "../bytes.ts";
import type { Context } from "../cli/context.ts";
import type { ChangedKey } from "../kv/changes.ts";
import { keyText } from "../kv/key.ts";
import type { NamespaceState } from "../kv/state.ts";
import { parseSince, watch } from "../kv/watch.ts";
import type { Workspace } from "../kv/workspace.ts";
import { withReader } from "./open.ts";

export function run(context: Context): Promise<void> {
  return withReader(context, (workspace) => follow(context, workspace));
}

async function follow(context: Context, workspace: Workspace): Promise<void> {
  const { flags, out } = context;
  const text = flags.value("since");
  const options = {
    prefix: utf8ToByteString(flags.value("prefix") ?? ""),
    since: text === undefined ? undefined : parseSince(text, workspace.repo.format),
    follow: flags.on("follow"),
  };
  for await (const { state, changes } of watch(workspace, options)) {
    for (const [i, change] of changes.entries()) show(context, state, change, i === changes.length - 1);
    out.flush();
  }
}

/** `last`: whoever has this line has all of the transaction, and may go on after its sequence number. */
function show({ out }: Context, { ns, ledger }: NamespaceState, { key, rev, meta }: ChangedKey, last: boolean): void {
  const { seq, oid, txn } = ledger;
  const op = meta === undefined ? "del" : "set";
  const value = meta === undefined ? {} : describe(meta);
  if (out.json) out.record({ ns, seq, oid, txn, op, key: keyText(key), rev, ...value, ...(last && { last }) });
  else out.line(`${seq}\t${op}\t${out.foreign(keyText(key))}`);
}

function describe({ type, size, etag, ctype, expires, labels }: NonNullable<ChangedKey["meta"]>): object {
  return { type, size, etag, ctype, expires, labels };
}
