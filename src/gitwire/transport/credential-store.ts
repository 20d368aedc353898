/**
 * The plain-text credential store (git: git-credential-store): one URL with user and password a line,
 * `https://user:pass@example.com`, percent-encoded, in `--file`, else `~/.git-credentials` and then
 * `$XDG_CONFIG_HOME/git/credentials`.
 */

import * as fs from "node:fs";
import * as path from "node:path";
import { KvError } from "../../errors.ts";
import { LIMITS } from "../../limits.ts";
import type { Credential, CredentialRequest } from "./credential.ts";
import type { Environment } from "./environment.ts";

/** The files of the store: read all in this order; written is the first that exists, else the first. */
export function storeFiles(file: string | undefined, env: Environment): readonly string[] {
  if (file !== undefined) return [file];
  const home = env.HOME;
  if (home === undefined || home === "") return [];
  const xdg = env.XDG_CONFIG_HOME;
  const config = xdg === undefined || xdg === "" ? path.join(home, ".config") : xdg;
  return [path.join(home, ".git-credentials"), path.join(config, "git", "credentials")];
}

/** The first entry that fits, or undefined. */
export function findStored(files: readonly string[], request: CredentialRequest): Credential | undefined {
  for (const file of files) {
    for (const line of readLines(file)) {
      const entry = parseEntry(line);
      if (entry !== undefined && fits(entry, request)) return { username: entry.username, password: entry.password };
    }
  }
  return undefined;
}

/** Puts the credential first in the file and takes out what it replaces; does nothing where it is there already. */
export function storeCredential(files: readonly string[], request: CredentialRequest, credential: Credential): void {
  const { username, password } = credential;
  if (username === undefined || password === undefined || request.host === "" || request.protocol === "") return;
  const wanted = { ...request, username };
  if (findStored(files, wanted)?.password === password) return;
  const file = files.find((name) => fs.existsSync(name)) ?? files[0];
  if (file === undefined) return;
  for (const other of files)
    if (other !== file && fs.existsSync(other)) rewrite(other, (line) => !matches(line, wanted));
  rewrite(file, (line) => !matches(line, wanted), formatEntry(wanted, username, password));
}

/** Takes out every entry that fits (with a password given, only those that have it, as git 2.41). */
export function eraseCredential(files: readonly string[], request: CredentialRequest, credential: Credential): void {
  const wanted = { ...request, username: credential.username ?? request.username };
  for (const file of files) {
    if (!fs.existsSync(file)) continue;
    rewrite(file, (line) => {
      const entry = parseEntry(line);
      if (entry === undefined || !fits(entry, wanted)) return true;
      return credential.password !== undefined && credential.password !== entry.password;
    });
  }
}

interface Entry {
  readonly protocol: string;
  readonly host: string;
  readonly path: string | undefined;
  readonly username: string;
  readonly password: string;
}

function matches(line: string, wanted: CredentialRequest): boolean {
  const entry = parseEntry(line);
  return entry !== undefined && fits(entry, wanted);
}

function fits(entry: Entry, wanted: CredentialRequest): boolean {
  return (
    entry.protocol === wanted.protocol &&
    entry.host.toLowerCase() === wanted.host.toLowerCase() &&
    (wanted.path === undefined || wanted.path === entry.path) &&
    (wanted.username === undefined || wanted.username === entry.username)
  );
}

function parseEntry(line: string): Entry | undefined {
  const match = /^([^:/?#]+):\/\/([^:@/]*):([^@/]*)@([^/]*)(?:\/(.*))?$/.exec(line);
  if (match === null) return undefined;
  try {
    const [protocol, username, password, host, rest] = match.slice(1).map((part) => part && decodeURIComponent(part));
    const trimmed = rest?.replace(/\/+$/, "");
    return { protocol: protocol!, username: username!, password: password!, host: host!, path: trimmed || undefined };
  } catch {
    return undefined;
  }
}

function formatEntry(request: CredentialRequest, username: string, password: string): string {
  const name = request.path === undefined ? "" : `/${request.path.split("/").map(encodeURIComponent).join("/")}`;
  const host = encodeURIComponent(request.host).replace(/%3A/g, ":").replace(/%5B/g, "[").replace(/%5D/g, "]");
  return `${request.protocol}://${encodeURIComponent(username)}:${encodeURIComponent(password)}@${host}${name}`;
}

function readLines(file: string): string[] {
  let text: string;
  try {
    if (fs.statSync(file).size > LIMITS.configBytes) throw new KvError("LIMIT_EXCEEDED", `${file} is too large`);
    text = fs.readFileSync(file, "utf8");
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === "ENOENT" || code === "ENOTDIR" || code === "EACCES") return [];
    throw error;
  }
  return text.split("\n").filter((line) => line !== "");
}

/** Rewrites the file under git's own lock (`<file>.lock`), readable by its owner only. */
function rewrite(file: string, keep: (line: string) => boolean, first?: string): void {
  const before = readLines(file);
  const lines = before.filter(keep);
  if (first !== undefined) lines.unshift(first);
  else if (lines.length === before.length) return;
  const lock = `${file}.lock`;
  let fd: number;
  try {
    fd = fs.openSync(lock, "wx", 0o600);
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code !== "EEXIST") throw cause;
    throw new KvError("LOCKED", `${lock} exists`, { cause });
  }
  try {
    fs.writeFileSync(fd, lines.map((line) => `${line}\n`).join(""));
    fs.fsyncSync(fd);
    fs.closeSync(fd);
    fs.renameSync(lock, file);
  } catch (error) {
    fs.rmSync(lock, { force: true });
    throw error;
  }
}
