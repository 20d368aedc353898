/** What every transport is given besides the address. */

import type { GitConfig } from "../config.ts";
import type { FoundCredential } from "./credentials.ts";
import type { Environment } from "./environment.ts";

export interface ConnectOptions {
  readonly config: GitConfig;
  readonly env: Environment;
  /** Name and version of this program, `git-kv/0.1.0`. */
  readonly agent: string;
  /** Protocol version to ask for: `protocol.version`, else 2 (a push is always 0). The server may answer with a lower one. */
  readonly version?: 0 | 1 | 2;
  /** `remote.<name>.uploadpack` or `.receivepack`: what to run on the other side of ssh or for a local path. */
  readonly program?: string | undefined;
  /** `remote.<name>.proxy`. */
  readonly proxy?: string | undefined;
  /** `remote.<name>.proxyAuthMethod`. */
  readonly proxyAuthMethod?: string | undefined;
  /** Over HTTP: nobody is asked for a password; a server that wants one refuses then. */
  readonly anonymous?: boolean;
  /** Logins that HTTP servers took from connections before, by user and address: nobody is asked for them again. */
  readonly logins?: Map<string, FoundCredential>;
  /** Takes what ssh and the remote's git write to stderr; without it that goes to our stderr. */
  readonly onMessage?: (text: string) => void;
  /** Takes the `Date` of each answer of an HTTP server that no cache has kept. */
  readonly onDate?: (date: string) => void;
  /** What a relative local path is relative to: the worktree's root. Default: the current folder. */
  readonly cwd?: string;
  /** Breaks the connection off. */
  readonly signal?: AbortSignal;
}
