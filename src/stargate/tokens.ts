/**
 * Access tokens of a repository: the password of HTTP Basic, or a Bearer token. Only their SHA-256 is kept, in
 * `stargate/tokens.json`; a token has 256 random bits, so a slow hash would add nothing. The file is read again when it
 * changes: a revoked token is refused by the very next request.
 */

import { timingSafeEqual } from "node:crypto";
import * as fs from "node:fs";
import * as path from "node:path";
import type { Clock } from "../clock.ts";
import { KvError } from "../errors.ts";
import { isMissing, systemDisk } from "../gitwire/disk.ts";
import { randomSuffix } from "../gitwire/pack/temp-file.ts";
import { readOwnFile } from "./settings.ts";

/** What a token lets its bearer do; each includes the ones before it. */
export const SCOPES = ["read", "write", "admin"] as const;
export type Scope = (typeof SCOPES)[number];

/** A token as it is kept. */
export interface TokenRecord {
  readonly name: string;
  readonly scope: Scope;
  /** Hex SHA-256 of the token. */
  readonly sha256: string;
  /** Unix seconds. */
  readonly created: number;
  /** Unix seconds; absent = never. */
  readonly expires?: number;
  /** Namespaces it may write to, and nothing besides; absent = all, and branches and tags too. */
  readonly namespaces?: readonly string[];
}

/** The ways in: HTTP; sshd's forced command; a hook of a stock git; receive-pack on standard input and output. */
export const DOORS = ["http", "ssh", "hook", "stdio"] as const;
export type Door = (typeof DOORS)[number];

/** Who a request comes from. */
export interface Identity {
  readonly name: string;
  readonly scope: Scope;
  readonly door: Door;
  /** Hex SHA-256 of the token. */
  readonly token?: string | undefined;
  /** Fingerprint of the SSH key that logged in. */
  readonly key?: string | undefined;
  /** Namespaces it may write to, and nothing besides; undefined: no such bound. */
  readonly namespaces?: readonly string[] | undefined;
}

const PREFIX = "gkv_";
const NAME = /^[A-Za-z0-9][A-Za-z0-9._@-]{0,63}$/;

/** True where `scope` lets one do what `needed` stands for. */
export function allows(scope: Scope, needed: Scope): boolean {
  return SCOPES.indexOf(scope) >= SCOPES.indexOf(needed);
}

export class TokenStore {
  readonly #file: string;
  #records: readonly TokenRecord[] = [];
  /** What the file looked like when it was read. */
  #seen = "";

  constructor(dir: string) {
    this.#file = path.join(dir, "tokens.json");
  }

  /** All tokens, by name. Throws CORRUPT where the file is damaged. */
  list(): readonly TokenRecord[] {
    const seen = signature(this.#file);
    if (seen === "" && this.#seen !== "" && !fs.existsSync(path.dirname(this.#file))) {
      // Nobody has taken a token back: a repository that was moved, or a disk that is not there, has none to show.
      throw new KvError("STORAGE", `${path.dirname(this.#file)} is gone, and the tokens with it`);
    }
    if (seen !== this.#seen || seen === "") {
      this.#records = parse(readOwnFile(this.#file), this.#file);
      this.#seen = seen;
    }
    return this.#records;
  }

  /** Who the bearer of `token` is; undefined where it is not one of ours, revoked or expired. */
  identify(token: string, now: number): Omit<Identity, "door"> | undefined {
    const digest = sha256(token);
    let found: TokenRecord | undefined;
    // Every record is compared, so that the time taken says nothing about which one is near.
    for (const record of this.list()) {
      if (timingSafeEqual(digest, Buffer.from(record.sha256, "hex"))) found = record;
    }
    if (found === undefined || (found.expires !== undefined && found.expires * 1000 <= now)) return undefined;
    const { name, scope, namespaces, sha256: kept } = found;
    return { name, scope, token: kept, ...(namespaces !== undefined && { namespaces }) };
  }

  /** Whether the token with this SHA-256 (hex) is still one of ours, not revoked or expired. */
  stands(digest: string, now: number): boolean {
    const record = this.list().find((other) => other.sha256 === digest);
    return record !== undefined && (record.expires === undefined || record.expires * 1000 > now);
  }

  /** Makes a token and returns it; it is never shown again. Throws INPUT_INVALID where the name is taken or malformed. */
  add(name: string, scope: Scope, expires: number | undefined, clock: Clock, namespaces?: readonly string[]): string {
    if (!NAME.test(name)) {
      throw new KvError("INPUT_INVALID", `'${name}' is no name for a token`, {
        hint: "letters, digits, '.', '_', '@' and '-', at most 64",
      });
    }
    const token = PREFIX + Buffer.from(clock.random(32)).toString("base64url");
    const created = Math.floor(clock.now() / 1000);
    const record: TokenRecord = {
      name,
      scope,
      sha256: sha256(token).toString("hex"),
      created,
      ...(expires !== undefined && { expires }),
      ...(namespaces !== undefined && { namespaces }),
    };
    this.#change((records) => {
      if (records.some((other) => other.name === name)) {
        throw new KvError("INPUT_INVALID", `there is a token named '${name}' already`, {
          hint: "revoke it first, or choose another name",
        });
      }
      return [...records, record];
    });
    return token;
  }

  /** Takes a token back. Throws INPUT_INVALID where there is none of that name. */
  revoke(name: string): void {
    this.#change((records) => {
      const left = records.filter((record) => record.name !== name);
      if (left.length === records.length) throw new KvError("INPUT_INVALID", `there is no token named '${name}'`);
      return left;
    });
  }

  /** Rewrites the file under its lock, whole or not at all. */
  #change(edit: (records: readonly TokenRecord[]) => readonly TokenRecord[]): void {
    const lock = `${this.#file}.lock`;
    fs.mkdirSync(path.dirname(this.#file), { recursive: true, mode: 0o750 });
    const fd = openNew(lock) ?? (breakStale(lock) ? openNew(lock) : undefined);
    if (fd === undefined) {
      throw new KvError("LOCKED", `${lock} exists: another process changes the tokens`, {
        hint: "try again in a minute: what a killed one left is nobody's then",
      });
    }
    try {
      const records = edit(parse(readOwnFile(this.#file), this.#file));
      ownAs(path.dirname(this.#file), fd);
      fs.writeFileSync(fd, `${JSON.stringify({ v: 1, tokens: records }, undefined, 2)}\n`);
      fs.fsyncSync(fd);
      if (!isAt(fd, lock)) {
        throw new KvError("LOCKED", `${lock} was taken over: this took longer than a minute`, {
          hint: "run the command again",
        });
      }
      fs.renameSync(lock, this.#file);
    } catch (error) {
      if (isAt(fd, lock)) fs.rmSync(lock, { force: true });
      throw error;
    } finally {
      fs.closeSync(fd);
    }
    systemDisk.syncDir(path.dirname(this.#file));
    this.#seen = "";
  }
}

/** Milliseconds after which a lock is what a killed process left: it is held for some. */
const STALE = 60_000;

/** A new file; undefined where there is one. */
function openNew(file: string): number | undefined {
  try {
    return fs.openSync(file, "wx", 0o600);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "EEXIST") return undefined;
    throw error;
  }
}

/** Whether the open file `fd` is the one called `file`: who was stopped, or waited for its disk, finds that of another one there. */
function isAt(fd: number, file: string): boolean {
  const [own, found] = [fs.fstatSync(fd), fs.statSync(file, { throwIfNoEntry: false })];
  return found?.ino === own.ino && found.dev === own.dev;
}

/** Takes away a lock that nobody holds any more: a token could not be revoked before somebody had removed it by hand. */
function breakStale(lock: string): boolean {
  const found = fs.statSync(lock, { throwIfNoEntry: false });
  if (found === undefined) return true;
  if (Math.abs(Date.now() - found.mtimeMs) < STALE) return false;
  // Under a name of our own first: another one may have done this meanwhile, and hold it.
  const own = `${lock}.${randomSuffix(6)}`;
  try {
    fs.renameSync(lock, own);
  } catch (error) {
    if (isMissing(error)) return true;
    throw error;
  }
  const { ino, mtimeMs } = fs.statSync(own);
  if (ino === found.ino && mtimeMs === found.mtimeMs) {
    fs.rmSync(own);
    return true;
  }
  fs.renameSync(own, lock);
  return false;
}

/** Gives what root writes to the account whose folder it is: else its daemon could not read it, and nobody would get in. */
function ownAs(folder: string, fd: number): void {
  if (process.geteuid?.() !== 0) return;
  const { uid, gid } = fs.statSync(folder);
  fs.fchownSync(fd, uid, gid);
}

function sha256(text: string): Buffer {
  return new Bun.CryptoHasher("sha256").update(text).digest() as Buffer;
}

/** Changes whenever the file does: every change is a new file under the old name. */
function signature(file: string): string {
  try {
    const { ino, mtimeNs, size } = fs.statSync(file, { bigint: true });
    return `${ino} ${mtimeNs} ${size}`;
  } catch (error) {
    if (isMissing(error)) return "";
    throw error;
  }
}

function parse(bytes: Buffer | undefined, file: string): TokenRecord[] {
  if (bytes === undefined) return [];
  let content: unknown;
  try {
    content = JSON.parse(bytes.toString("utf8"));
  } catch {}
  const { v, tokens } = (content ?? {}) as { v?: unknown; tokens?: unknown };
  if (v !== 1 || !Array.isArray(tokens) || !tokens.every(isRecord)) {
    throw new KvError("CORRUPT", `${file} does not hold tokens`, { hint: "remove it and add the tokens again" });
  }
  return tokens;
}

function isRecord(value: unknown): value is TokenRecord {
  const record = value as TokenRecord | null;
  return (
    typeof record === "object" &&
    record !== null &&
    typeof record.name === "string" &&
    SCOPES.includes(record.scope) &&
    /^[0-9a-f]{64}$/.test(record.sha256) &&
    (record.expires === undefined || Number.isSafeInteger(record.expires)) &&
    (record.namespaces === undefined ||
      (Array.isArray(record.namespaces) && record.namespaces.every((ns) => typeof ns === "string")))
  );
}
