/**
 * Credential helpers: programs that know passwords (git: gitcredentials "CUSTOM HELPERS").
 *
 *     helper  =  "!" shell-command           run by sh with the action behind it
 *             /  absolute-path [SP args]     likewise
 *             /  name [SP args]              the program git-credential-<name>; `store` is done here, without a program
 */

import { existsSync } from "node:fs";
import * as path from "node:path";
import { type Credential, type CredentialRequest, formatCredential, parseCredential } from "./credential.ts";
import { eraseCredential, findStored, storeCredential, storeFiles } from "./credential-store.ts";
import type { Environment } from "./environment.ts";

/** One link of the helper chain. */
export interface CredentialHelper {
  /** True where asking costs no process. */
  readonly native: boolean;
  get(request: CredentialRequest, challenges: readonly string[]): Promise<HelperAnswer>;
  store(request: CredentialRequest, credential: Credential): Promise<void>;
  erase(request: CredentialRequest, credential: Credential): Promise<void>;
}

export type HelperAnswer = Credential & { readonly quit: boolean };

/** The helper a `credential.helper` value names. */
export function credentialHelper(value: string, env: Environment): CredentialHelper {
  const store = /^store(?:\s+(.*))?$/.exec(value);
  const file = store === null ? undefined : storeFile(store[1] ?? "", env);
  if (store !== null && file !== UNKNOWN_OPTION) return nativeStore(storeFiles(file, env));
  return programHelper(value, env);
}

const UNKNOWN_OPTION = Symbol("unknown option");

/** The `--file` of `store`, with `~/` and one pair of quotes expanded as the shell would. */
function storeFile(args: string, env: Environment): string | undefined | typeof UNKNOWN_OPTION {
  if (args.trim() === "") return undefined;
  const match = /^--file(?:=|\s+)(?:"([^"$`\\]*)"|'([^']*)'|([^\s"'$`\\*?]+))\s*$/.exec(args.trim());
  if (match === null) return UNKNOWN_OPTION;
  const file = match[1] ?? match[2] ?? match[3]!;
  // The shell expands a tilde at the start of a word only, so not behind `--file=`; git-credential-store itself expands none.
  return match[3]?.startsWith("~/") && !args.includes("=") && env.HOME !== undefined ? env.HOME + file.slice(1) : file;
}

function nativeStore(files: readonly string[]): CredentialHelper {
  return {
    native: true,
    get: async (request) => {
      const found = findStored(files, request);
      return { username: found?.username, password: found?.password, quit: false };
    },
    store: async (request, credential) => storeCredential(files, request, credential),
    erase: async (request, credential) => eraseCredential(files, request, credential),
  };
}

function programHelper(value: string, env: Environment): CredentialHelper {
  const command = helperCommand(value);
  return {
    native: false,
    get: async (request, challenges) =>
      parseCredential(await run(`${command} get`, formatCredential(request, undefined, challenges), env)),
    store: async (request, credential) => {
      await run(`${command} store`, formatCredential(request, credential), env);
    },
    erase: async (request, credential) => {
      await run(`${command} erase`, formatCredential(request, credential), env);
    },
  };
}

function helperCommand(value: string): string {
  if (value.startsWith("!")) return value.slice(1);
  if (path.isAbsolute(value)) return value;
  return `git-credential-${value}`;
}

/** Runs the helper. What it says counts even where it fails, as with git. Its stderr is the user's. */
async function run(command: string, input: string, env: Environment): Promise<string> {
  const child = Bun.spawn(["/bin/sh", "-c", command], {
    stdin: Buffer.from(input),
    stdout: "pipe",
    stderr: "inherit",
    env: { ...env, PATH: helperPath(env) },
  });
  const output = await new Response(child.stdout).text();
  await child.exited;
  return output;
}

/** Where git keeps its own helpers (`cache`, `libsecret`); git puts its folder first in PATH for them. */
const GIT_FOLDERS = [
  "/usr/lib/git-core",
  "/usr/libexec/git-core",
  "/usr/local/libexec/git-core",
  "/opt/homebrew/opt/git/libexec/git-core",
];

function helperPath(env: Environment): string {
  const folders = [env.GIT_EXEC_PATH ?? "", ...GIT_FOLDERS].filter((folder) => folder !== "" && existsSync(folder));
  return [...folders, env.PATH ?? "/usr/local/bin:/usr/bin:/bin"].join(":");
}
