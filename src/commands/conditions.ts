/** Flags that writing verbs share: conditions, options of a value, and how an outcome is shown. */

import type { Context, Flags } from "../cli/context.ts";
import { KvError } from "../errors.ts";
import { isOid, type ObjectFormat, type Oid } from "../gitwire/object/oid.ts";
import { parseLabels, type SetOptions } from "../kv/batch.ts";
import type { CommitOutcome } from "../kv/commit.ts";
import { parseKeyExpiry } from "../kv/expiry.ts";
import { parseMediaType } from "../kv/media-type.ts";
import { waitsByDefault } from "../kv/mirror-ack.ts";
import type { Condition } from "../kv/operation.ts";
import { tidyUp } from "../kv/tidy.ts";
import type { Workspace } from "../kv/workspace.ts";
import { openWorkspace } from "./open.ts";

/** An object id given as the value of `--<flag>`. Throws INPUT_INVALID. */
export function oidFlag(format: ObjectFormat, flag: string, text: string): Oid {
  if (isOid(format, text)) return text;
  throw new KvError("INPUT_INVALID", `--${flag}: '${text}' is not an object id of ${format.hexSize} hex digits`);
}

/** The tree of `--expect-tree`. */
export function expectedTree(format: ObjectFormat, flags: Flags): Oid | undefined {
  const text = flags.value("expect-tree");
  return text === undefined ? undefined : oidFlag(format, "expect-tree", text);
}

/** The condition of `--expect-blob` and `--if-absent`. */
export function keyCondition(format: ObjectFormat, flags: Flags, ifAbsent = false): Condition | undefined {
  const blob = flags.value("expect-blob");
  if (ifAbsent && blob !== undefined) throw new KvError("USAGE", "--if-absent and --expect-blob do not go together");
  if (ifAbsent || blob === "0" || blob === format.zeroOid) return { kind: "absent" };
  return blob === undefined ? undefined : { kind: "blob", oid: oidFlag(format, "expect-blob", blob) };
}

/** What a set says besides its value. */
export function setOptions(flags: Flags, now: number): SetOptions {
  const ctype = flags.value("ctype");
  const labels = flags.values("label").map((text): [string, string] => {
    const at = text.indexOf("=");
    if (at < 1) throw new KvError("INPUT_INVALID", `--label: '${text}' is not NAME=VALUE`);
    return [text.slice(0, at), text.slice(at + 1)];
  });
  return {
    ctype: ctype === undefined ? undefined : parseMediaType(ctype),
    expires: parseKeyExpiry(flags.value("ttl"), flags.value("expires"), now),
    labels: labels.length === 0 ? undefined : parseLabels(Object.fromEntries(labels)),
  };
}

/** The workspace of a verb that writes. Throws as openWorkspace, and CONFIG where it is to wait for a mirror and there is none. */
export async function openToWrite(context: Context): Promise<Workspace> {
  const workspace = openWorkspace(context);
  if (await isToWait(context, workspace)) await (await import("../kv/wait.ts")).requireMirror(workspace);
  return workspace;
}

/** Shows what came of a write, waits for the mirror where `--wait` asks for it, and tidies up. */
export async function showOutcome(context: Context, workspace: Workspace, outcome: CommitOutcome): Promise<void> {
  const { out } = context;
  const { bytes } = outcome;
  if (outcome.kind === "unchanged") {
    const { oid, tree, seq } = outcome.state.ledger;
    if (out.json) out.record({ oid, seq, tree, unchanged: true, bytes });
    else out.line(oid);
    out.note("unchanged: no commit was made");
    out.flush();
    await waitWhereAsked(context, workspace, oid);
    return;
  }
  const { ledger, txn, seq, tree, changes } = outcome;
  const rev = changes.length === 1 ? { rev: changes[0]!.rev } : {};
  const set = changes.filter(({ kind }) => kind === "set").length;
  if (out.json) out.record({ oid: ledger, txn, seq, ...rev, tree, set, del: changes.length - set, bytes });
  else out.line(ledger);
  out.flush();
  if (bytes !== undefined && out.notesTerminal) out.note((await import("../kv/piece-store.ts")).describeBytes(bytes));
  await finishWrite(context, workspace, ledger);
}

/** What follows a write that was shown: waiting for the mirror where that is asked for, and tidying up. */
export async function finishWrite(context: Context, workspace: Workspace, oid: Oid): Promise<void> {
  await waitWhereAsked(context, workspace, oid);
  await tidyUp(workspace);
}

/** Waits for the mirror to show the ledger commit `oid`, where that is asked for. */
async function waitWhereAsked(context: Context, workspace: Workspace, oid: Oid): Promise<void> {
  if (!(await isToWait(context, workspace))) return;
  const { waitForMirror } = await import("../kv/wait.ts");
  await waitForMirror(workspace, oid, WAIT_TIMEOUT);
}

/** Whether `--wait` or the policy asks to wait for the mirror, and `--no-wait` does not forbid it. */
async function isToWait({ flags }: Context, workspace: Workspace): Promise<boolean> {
  return flags.toggle("wait") ?? (await waitsByDefault(workspace));
}

/** How long `--wait` waits, in milliseconds. */
const WAIT_TIMEOUT = 60_000;
