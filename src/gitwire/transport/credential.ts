/**
 * A credential and the text credential helpers read and write (git: git-credential "INPUT/OUTPUT FORMAT").
 *
 *     attribute  =  key "=" value LF        ends with a blank line or the end of the stream
 *     key        =  protocol / host / path / username / password / authtype / credential / password_expiry_utc
 *                   / oauth_refresh_token / quit / ( capability / wwwauth ) "[]"
 */

import { KvError } from "../../errors.ts";
import type { HttpUrl } from "./url.ts";

/** What a credential is wanted for. */
export interface CredentialRequest {
  readonly protocol: string;
  /** With its port where the URL has one. */
  readonly host: string;
  /** Only where `credential.useHttpPath` is on; without a leading slash. */
  readonly path: string | undefined;
  readonly username: string | undefined;
}

/** A user and a password, or a ready value for the Authorization header. */
export interface Credential {
  readonly username: string | undefined;
  readonly password: string | undefined;
  /** `Bearer` and the like, with `credential`: sent as they are (git 2.46 "authtype"). */
  readonly authtype?: string;
  readonly credential?: string;
  /** Seconds since 1970 after which it is of no use. */
  readonly expires?: number;
  readonly refreshToken?: string;
}

/** What is asked for a URL: its path counts where `usePath` is true. */
export function credentialRequest(url: HttpUrl, usePath: boolean, username: string | undefined): CredentialRequest {
  const host = url.port === undefined ? url.host : `${url.host}:${url.port}`;
  return { protocol: url.kind, host, path: usePath ? url.path.slice(1) : undefined, username };
}

/** The value of the Authorization header, or undefined where the credential is not complete. */
export function authorizationHeader(credential: Credential): string | undefined {
  if (credential.authtype !== undefined && credential.credential !== undefined) {
    return `${credential.authtype} ${credential.credential}`;
  }
  const { username, password } = credential;
  if (username === undefined || password === undefined) return undefined;
  return `Basic ${Buffer.from(`${username}:${password}`, "utf8").toString("base64")}`;
}

/** Attributes for a helper. Throws INPUT_INVALID on a value that would break out of its line. */
export function formatCredential(
  request: CredentialRequest,
  credential?: Credential,
  challenges: readonly string[] = [],
): string {
  const lines = ["capability[]=authtype\n"];
  const add = (key: string, value: string | number | undefined): void => {
    if (value === undefined) return;
    if (/[\0\r\n]/.test(String(value))) {
      throw new KvError("INPUT_INVALID", `the ${key} of a credential holds a line break`);
    }
    lines.push(`${key}=${value}\n`);
  };
  add("protocol", request.protocol);
  add("host", request.host);
  add("path", request.path);
  add("username", credential?.username ?? request.username);
  add("password", credential?.password);
  add("authtype", credential?.authtype);
  add("credential", credential?.credential);
  add("password_expiry_utc", credential?.expires);
  add("oauth_refresh_token", credential?.refreshToken);
  for (const challenge of challenges) add("wwwauth[]", challenge);
  lines.push("\n");
  return lines.join("");
}

/** A helper's answer; `quit` says that no other helper and no person shall be asked. Unknown attributes are ignored. */
export function parseCredential(text: string): Credential & { readonly quit: boolean } {
  const values = new Map<string, string>();
  for (const line of text.split("\n")) {
    if (line === "") break;
    const equals = line.indexOf("=");
    if (equals > 0) values.set(line.slice(0, equals), line.slice(equals + 1).replace(/\r$/, ""));
  }
  const expires = Number(values.get("password_expiry_utc") ?? Number.NaN);
  return {
    username: values.get("username"),
    password: values.get("password"),
    ...present("authtype", values.get("authtype")),
    ...present("credential", values.get("credential")),
    ...present("refreshToken", values.get("oauth_refresh_token")),
    ...(Number.isSafeInteger(expires) ? { expires } : {}),
    quit: /^(1|true|yes|on)$/i.test(values.get("quit") ?? ""),
  };
}

function present<K extends string>(key: K, value: string | undefined): { readonly [P in K]?: string } {
  return (value === undefined ? {} : { [key]: value }) as { readonly [P in K]?: string };
}
