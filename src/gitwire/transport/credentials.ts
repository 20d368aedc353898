/**
 * Where a password for an HTTP server comes from (git: gitcredentials). In this order: the URL itself, ~/.netrc, the helpers of
 * `credential.helper` and `credential.<url>.helper`, then the program of GIT_ASKPASS, `core.askPass` or SSH_ASKPASS.
 */

import { readFileSync } from "node:fs";
import * as path from "node:path";
import { matchUrlEntries } from "../config/url-match.ts";
import type { GitConfig } from "../config.ts";
import { type Credential, type CredentialRequest, credentialRequest } from "./credential.ts";
import { type CredentialHelper, credentialHelper } from "./credential-helper.ts";
import { type Environment, isTrue, shellCommand } from "./environment.ts";
import { findNetrc } from "./netrc.ts";
import { type HttpUrl, httpBase } from "./url.ts";

/** A credential, and the helpers that are told how it fared. */
export interface FoundCredential {
  readonly credential: Credential;
  /** The server took it. */
  approve(): Promise<void>;
  /** The server refused it. */
  reject(): Promise<void>;
}

/**
 * A credential that costs no process and no question: from the URL, ~/.netrc or the plain-text store. It can be sent with the
 * first request, which saves a round trip and, where the request is a large push, a second upload.
 */
export async function cheapCredential(
  url: HttpUrl,
  config: GitConfig,
  env: Environment,
): Promise<FoundCredential | undefined> {
  if (url.user !== undefined && url.password !== undefined) {
    return unmanaged({ username: url.user, password: url.password });
  }
  const request = requestFor(url, config);
  const login = netrcLogin(url, request.username, env);
  if (login !== undefined) return unmanaged(login);
  const helpers = helpersFor(url, config, env);
  for (const helper of helpers) {
    if (!helper.native) return undefined;
    const found = await helper.get(request, []);
    if (isComplete(found)) return managed(request, found, helpers);
  }
  return undefined;
}

/** A credential from the helpers, else from the user. `challenges` are the server's WWW-Authenticate headers. */
export async function fillCredential(
  url: HttpUrl,
  config: GitConfig,
  env: Environment,
  challenges: readonly string[],
): Promise<FoundCredential | undefined> {
  const helpers = helpersFor(url, config, env);
  let request = requestFor(url, config);
  let password: string | undefined;
  for (const helper of helpers) {
    const found = await helper.get(request, challenges);
    if (isComplete(found)) return managed(request, { ...found, username: found.username ?? request.username }, helpers);
    request = { ...request, username: found.username ?? request.username };
    password = found.password ?? password;
    if (found.quit) return undefined;
  }
  const username = request.username ?? (await ask("Username", request, config, env));
  if (username === undefined) return undefined;
  request = { ...request, username };
  password ??= await ask("Password", request, config, env);
  return password === undefined ? undefined : managed(request, { username, password }, helpers);
}

function isComplete(credential: Credential): boolean {
  if (credential.expires !== undefined && credential.expires * 1000 <= Date.now()) return false;
  if (credential.authtype !== undefined && credential.credential !== undefined) return true;
  return credential.username !== undefined && credential.password !== undefined;
}

function unmanaged(credential: Credential): FoundCredential {
  return { credential, approve: async () => {}, reject: async () => {} };
}

function managed(
  request: CredentialRequest,
  credential: Credential,
  helpers: readonly CredentialHelper[],
): FoundCredential {
  let told = false;
  const tell = async (action: (helper: CredentialHelper) => Promise<void>): Promise<void> => {
    if (told) return;
    told = true;
    for (const helper of helpers) await action(helper);
  };
  return {
    credential,
    approve: () => tell((helper) => helper.store(request, credential)),
    reject: () => tell((helper) => helper.erase(request, credential)),
  };
}

function requestFor(url: HttpUrl, config: GitConfig): CredentialRequest {
  const usePath = isTrue(lastFor(url, config, "usehttppath"));
  return credentialRequest(url, usePath, url.user ?? lastFor(url, config, "username"));
}

/** The helper chain in the order of the configuration; an empty value clears what came before. */
function helpersFor(url: HttpUrl, config: GitConfig, env: Environment): CredentialHelper[] {
  const values = allFor(url, config, "helper");
  return values.slice(values.lastIndexOf("") + 1).map((value) => credentialHelper(value, env));
}

function lastFor(url: HttpUrl, config: GitConfig, key: string): string | undefined {
  return allFor(url, config, key).at(-1);
}

function allFor(url: HttpUrl, config: GitConfig, key: string): readonly string[] {
  const user = url.user === undefined ? "" : `${encodeURIComponent(url.user)}@`;
  const address = httpBase(url).replace("://", `://${user}`);
  // Here, unlike with http.<url>.*, a general value counts beside a specific one, whatever their order.
  const fitting = config.entries().filter((entry) => matchUrlEntries([entry], "credential", key, address).length > 0);
  return fitting.map(({ value }) => value ?? "");
}

/** `_netrc` is what Windows calls the file. */
function netrcLogin(url: HttpUrl, username: string | undefined, env: Environment): Credential | undefined {
  if (env.HOME === undefined || env.HOME === "") return undefined;
  for (const name of [".netrc", "_netrc"]) {
    let text: string;
    try {
      text = readFileSync(path.join(env.HOME, name), "utf8");
    } catch {
      continue;
    }
    const found = findNetrc(text, url.host, username);
    if (found?.password === undefined) return undefined;
    return { username: found.login ?? username ?? "", password: found.password };
  }
  return undefined;
}

/** Asks the user through the askpass program; undefined where there is none or it gives nothing. */
async function ask(
  what: "Username" | "Password",
  request: CredentialRequest,
  config: GitConfig,
  env: Environment,
): Promise<string | undefined> {
  if (config.get("credential.interactive") === "false") return undefined;
  const program = env.GIT_ASKPASS || config.get("core.askpass") || env.SSH_ASKPASS;
  if (program === undefined || program === "") return undefined;
  const user = request.username === undefined ? "" : `${encodeURIComponent(request.username)}@`;
  const place = `${request.protocol}://${user}${request.host}${request.path === undefined ? "" : `/${request.path}`}`;
  const child = Bun.spawn(shellCommand(program, [`${what} for '${place}': `]), {
    stdin: "inherit",
    stdout: "pipe",
    stderr: "inherit",
    env,
  });
  const output = await new Response(child.stdout).text();
  if ((await child.exited) !== 0) return undefined;
  return output.split(/[\r\n]/, 1)[0];
}
