/**
 * Updates of a symbolic ref beside one of the ref it leads to (git: builtin/receive-pack.c, check_aliased_updates). Both move the same
 * ref: where they say the same, the target's is the one that is made; where they do not, neither is.
 */

import { toKvError } from "../../errors.ts";
import type { RefStore } from "../refs/ref-store.ts";
import type { PushCommand } from "./receive-commands.ts";

export interface AliasedUpdates {
  /** Why a command is refused, by ref. */
  readonly refused: ReadonlyMap<string, string>;
  /** Symbolic refs that move with another command's ref, and that ref. */
  readonly targets: ReadonlyMap<string, string>;
}

/** Looks for them among `commands`; `say` tells the person who pushes why some are refused. */
export function aliasedUpdates(
  refs: RefStore,
  commands: readonly PushCommand[],
  say: (text: string) => void,
): AliasedUpdates {
  const refused = new Map<string, string>();
  const targets = new Map<string, string>();
  const byRef = new Map(commands.map((command) => [command.ref, command]));
  for (const command of commands) {
    const { ref } = command;
    const target = targetOf(refs, ref);
    if (target === "broken") {
      say(`error: refusing update to broken symref '${ref}'\n`);
      refused.set(ref, "broken symref");
    }
    const other = target === undefined ? undefined : byRef.get(target);
    if (other === undefined || other === command) continue;
    if (other.oldOid === command.oldOid && other.newOid === command.newOid) {
      targets.set(ref, other.ref);
      continue;
    }
    say(
      `error: refusing inconsistent update between symref '${ref}' (${range(command)}) and its target '${other.ref}' (${range(other)})\n`,
    );
    refused.set(ref, INCONSISTENT).set(other.ref, INCONSISTENT);
  }
  return { refused, targets };
}

const INCONSISTENT = "inconsistent aliased update";

/** The ref a symbolic one leads to; undefined for any other ref, and "broken" where the chain does not end. */
function targetOf(refs: RefStore, ref: string): string | undefined {
  try {
    if (refs.readRaw(ref)?.kind !== "symbolic") return undefined;
  } catch (error) {
    // A damaged ref is the transaction's to refuse.
    if (toKvError(error).code === "CORRUPT") return undefined;
    throw error;
  }
  try {
    return refs.follow(ref).name;
  } catch (error) {
    if (toKvError(error).code === "CORRUPT") return "broken";
    throw error;
  }
}

function range({ oldOid, newOid }: PushCommand): string {
  return `${oldOid.slice(0, 7)}..${newOid.slice(0, 7)}`;
}
