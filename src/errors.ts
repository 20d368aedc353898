/**
 * Every error a user or a peer can meet, in one table: code, exit status and default hint.
 *
 * A rejection travels over the wire as `<CODE>: <sentence>`, so the code is also the wire token.
 * Facts go into the message, the way out into the hint. An assertion is for our own bugs only.
 */

/** Exit statuses of both programs (documented in docs/exit-codes.md). */
export const EXIT = {
  ok: 0,
  bug: 1,
  conflict: 2,
  policy: 3,
  invalid: 4,
  io: 5,
  notFound: 6,
  expired: 7,
  attestation: 8,
  notLeader: 9,
  timeout: 10,
  syncRefused: 11,
  usage: 64,
  interrupted: 130,
  terminated: 143,
} as const;

interface CodeEntry {
  readonly exit: number;
  readonly hint?: string;
}

const TABLE = {
  // usage and input
  USAGE: { exit: EXIT.usage },
  KEY_INVALID: { exit: EXIT.invalid, hint: "a key is 1 to 1,024 bytes of UTF-8 without control characters" },
  NS_INVALID: {
    exit: EXIT.invalid,
    hint: "a namespace is a-z, 0-9, '.', '_', '-', starts with a letter or digit, at most 63 long",
  },
  INPUT_INVALID: { exit: EXIT.invalid },
  KEY_NOT_FOUND: { exit: EXIT.notFound },
  KEY_EXPIRED: { exit: EXIT.expired },
  NS_NOT_FOUND: { exit: EXIT.notFound, hint: "in a clone run 'git kv remote setup'; 'git kv init' makes a new one" },
  // conditions
  CAS_CONFLICT: { exit: EXIT.conflict, hint: "read the new state and try again" },
  // policy
  UNAUTHENTICATED: { exit: EXIT.io, hint: "give a token: 'git-kv-stargate token add' prints one" },
  FORBIDDEN: { exit: EXIT.policy },
  UNSIGNED: { exit: EXIT.policy },
  BAD_SIGNATURE: { exit: EXIT.policy },
  SIGNER_NOT_ALLOWED: { exit: EXIT.policy },
  PREFIX_NOT_ALLOWED: { exit: EXIT.policy },
  VALUE_TOO_LARGE: { exit: EXIT.policy },
  TXN_TOO_LARGE: { exit: EXIT.policy },
  LFS_FORBIDDEN: { exit: EXIT.policy },
  POLICY_STALE: { exit: EXIT.policy },
  POLICY_UNTRUSTED: { exit: EXIT.policy },
  NOT_FAST_FORWARD: { exit: EXIT.policy },
  NOT_LINEAR: { exit: EXIT.policy },
  REF_FORBIDDEN: { exit: EXIT.policy },
  // what the commits say is not what the trees hold
  ATTESTATION_MISSING: { exit: EXIT.attestation },
  ATTESTATION_MISMATCH: { exit: EXIT.attestation },
  REPLAY_MISMATCH: { exit: EXIT.attestation },
  CHUNK_MISMATCH: { exit: EXIT.attestation },
  // operations
  NOT_LEADER: { exit: EXIT.notLeader },
  DIVERGED: { exit: EXIT.io },
  BUSY: { exit: EXIT.io, hint: "try again in a moment" },
  STORAGE: { exit: EXIT.io },
  BAD_PACK: { exit: EXIT.io },
  BAD_OBJECT: { exit: EXIT.io },
  LIMIT_EXCEEDED: { exit: EXIT.io },
  PROTOCOL: { exit: EXIT.io },
  NETWORK: { exit: EXIT.io },
  NOT_A_REPOSITORY: { exit: EXIT.io },
  CONFIG: { exit: EXIT.io },
  REF_INVALID: { exit: EXIT.io },
  LOCKED: { exit: EXIT.io, hint: "another process holds the lock; if none runs, remove the .lock file" },
  CORRUPT: { exit: EXIT.io, hint: "check the repository with 'git fsck'" },
  REMOTE_REJECTED: { exit: EXIT.io },
  UNSUPPORTED: { exit: EXIT.io },
  IO: { exit: EXIT.io },
  MIRROR_TIMEOUT: { exit: EXIT.timeout },
  SYNC_REFUSED: { exit: EXIT.syncRefused },
  INTERRUPTED: { exit: EXIT.interrupted },
  TERMINATED: { exit: EXIT.terminated },
  BUG: { exit: EXIT.bug, hint: "this is a bug in git-kv; please report it with the output of --debug" },
} as const satisfies Record<string, CodeEntry>;

/** A code of the table; also the token that travels over the wire. */
export type Code = keyof typeof TABLE;

/** Optional parts of a {@link KvError}. */
export interface ErrorDetail {
  readonly hint?: string;
  readonly data?: Readonly<Record<string, unknown>>;
  readonly cause?: unknown;
}

/** What errors of every copy of this module have: a program may have loaded two. */
const MARK = Symbol.for("git-kv.KvError");

/** The one error class. Anything else that reaches the top of a program is a bug of ours. */
export class KvError extends Error {
  readonly code: Code;
  /** Exit status of a program that ends with this error, 1 to 143. */
  readonly exit: number;
  readonly hint: string | undefined;
  readonly data: Readonly<Record<string, unknown>> | undefined;

  constructor(code: Code, message: string, detail: ErrorDetail = {}) {
    super(message, detail.cause === undefined ? undefined : { cause: detail.cause });
    this.name = "KvError";
    this.code = code;
    const entry: CodeEntry = TABLE[code];
    this.exit = entry.exit;
    this.hint = detail.hint ?? entry.hint;
    this.data = detail.data;
  }

  /** @internal */
  static override [Symbol.hasInstance](value: unknown): value is KvError {
    return typeof value === "object" && value !== null && MARK in value;
  }
}
Object.defineProperty(KvError.prototype, MARK, { value: true });

/** True when `text` is a code of the table (used on text that came over the wire). */
export function isCode(text: string): text is Code {
  return Object.hasOwn(TABLE, text);
}

/** Throws a BUG when our own reasoning does not hold. Never used on input. */
export function assert(condition: unknown, message: string): asserts condition {
  if (!condition) throw new KvError("BUG", `assertion failed: ${message}`);
}

/** The system's words for no room: full, read-only, over a quota, over the largest file the process or the file system allows. */
const NO_ROOM: ReadonlySet<string> = new Set(["ENOSPC", "EROFS", "EDQUOT", "EFBIG"]);

/** Whether the system had no room for what was written. */
export function isNoRoom(thrown: unknown): boolean {
  return thrown instanceof Error && NO_ROOM.has((thrown as NodeJS.ErrnoException).code ?? "");
}

/** The error as a KvError; an unknown thing becomes IO (system errors) or BUG. */
export function toKvError(thrown: unknown): KvError {
  if (thrown instanceof KvError) return thrown;
  if (thrown instanceof Error) {
    const system = (thrown as NodeJS.ErrnoException).code;
    if (isNoRoom(thrown)) {
      return new KvError("STORAGE", thrown.message, {
        cause: thrown,
        hint: "free space on the disk or make it writable",
      });
    }
    if (system === "EIO") {
      return new KvError("STORAGE", thrown.message, {
        cause: thrown,
        hint: "the disk fails: the system's log (dmesg) says more",
      });
    }
    if (system === "EACCES" || system === "EPERM") {
      return new KvError("IO", thrown.message, {
        cause: thrown,
        hint: "this account may not do that: look at the owner and the mode of the file and of its folders",
      });
    }
    if (typeof system === "string" && /^E[A-Z0-9]+$/.test(system))
      return new KvError("IO", thrown.message, { cause: thrown });
    return new KvError("BUG", thrown.message, { cause: thrown });
  }
  return new KvError("BUG", String(thrown));
}
