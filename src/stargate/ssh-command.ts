/**
 * What a client asks for over SSH (SSH_ORIGINAL_COMMAND): one of git's two services, the status or a sync, and one repository. The
 * text never reaches a shell.
 *
 *     command  = service SP argument
 *     service  = "git-receive-pack" / "git receive-pack" / "git-upload-pack" / "git upload-pack" / "git-kv-stargate status" / sync
 *     sync     = "git-kv-stargate sync" SP ("dry-run" / "repair" / "force" / "fork") [SP "--ns=" namespace]
 *     argument = quoted / 1*(ALPHA / DIGIT / any of "/._~@+:-")
 *     quoted   = "'" *(any but "'") "'" *( "\" ("'" / "!") "'" *(any but "'") "'" )       (git: quote.c, sq_quote)
 */

import { KvError } from "../errors.ts";
import type { SyncMode, SyncRequest } from "../kv/sync-report.ts";

export interface SshCommand {
  readonly service: "git-receive-pack" | "git-upload-pack" | "status" | "sync";
  /** As it was given: a name, or a path. */
  readonly repo: string;
  /** `sync`: what is asked for. */
  readonly sync?: SyncRequest;
}

const MAX_COMMAND = 4_096;
const SERVICES =
  /^(?:git[- ](receive-pack|upload-pack)|git-kv-stargate (status|sync (dry-run|repair|force|fork)(?: --ns=([a-z0-9._-]+))?)) +(.+)$/s;

/** Parses the command. Throws FORBIDDEN for anything but the above. */
export function parseSshCommand(text: string): SshCommand {
  const [, service, admin, mode, ns, argument] = (text.length <= MAX_COMMAND && SERVICES.exec(text)) || [];
  const repo = argument === undefined ? undefined : dequote(argument);
  if (repo === undefined || repo === "" || /[\x00-\x1f\x7f]/.test(repo)) {
    throw new KvError(
      "FORBIDDEN",
      "only git-upload-pack, git-receive-pack, 'git-kv-stargate status' and 'git-kv-stargate sync' with one repository are run here",
    );
  }
  if (mode !== undefined) return { service: "sync", repo, sync: { mode: mode as SyncMode, ns } };
  if (admin !== undefined) return { service: "status", repo };
  return { service: service === "receive-pack" ? "git-receive-pack" : "git-upload-pack", repo };
}

/** The one argument `text` stands for, or undefined where it is more, less or malformed. */
function dequote(text: string): string | undefined {
  if (!text.startsWith("'")) return /^[A-Za-z0-9/._~@+:-]+$/.test(text) ? text : undefined;
  if (!/^'[^']*'(?:\\['!]'[^']*')*$/.test(text)) return undefined;
  return text.slice(1, -1).replace(/'\\(['!])'/g, "$1");
}
