/**
 * How a repository's Stargate is set up: flags over the environment (`STARGATE_*`) over `stargate.yaml` in the repository.
 */

import * as fs from "node:fs";
import * as path from "node:path";
import { KvError, toKvError } from "../errors.ts";
import { errorCode } from "../gitwire/disk.ts";
import { POLICY_PATH } from "../kv/policy.ts";
import { requireYaml } from "../yaml-file.ts";
import { type SettingsFile, settingsSchema } from "./settings-schema.ts";

/** Name of the file in the repository's folder. */
export const SETTINGS_FILE = "stargate.yaml";

/** How pushes to the mirror are spaced. */
export interface MirrorPace {
  /** Pushes that may follow each other at once. */
  readonly burst: number;
  /** Milliseconds until one more is allowed; 0 sets no limit. */
  readonly interval: number;
}

/** One who is told of accepted transactions, as written; paths of files are absolute. */
export type WebhookSettings = NonNullable<SettingsFile["webhooks"]>[number];

/** The listener for operators: `host:port`, or none. `isDefault`: nobody asked for it, so the start does not depend on it. */
export interface AdminListen {
  readonly address: string | undefined;
  readonly isDefault: boolean;
}

/** Everything that can be set for one repository. */
export interface Settings {
  /** `host:port` of the HTTP listener. */
  readonly listen: string;
  /** Where operators look. */
  readonly adminListen: AdminListen;
  /** Transactions the mirror may be behind before `/readyz` says so. */
  readonly backlogLimit: number;
  /** Bytes that are to be free on the disk of the repository. */
  readonly minFree: number;
  /** Who is told of accepted transactions. */
  readonly webhooks: readonly WebhookSettings[];
  /** Path of the unix socket. */
  readonly socket: string;
  /** Path of the policy file on the default branch. */
  readonly policyPath: string;
  /** Whether anyone may read over HTTP without a token. */
  readonly anonymousRead: boolean;
  /** A remote of the repository's git config, or a URL; undefined where there is no mirror. */
  readonly mirrorRemote: string | undefined;
  /** undefined: what suits the kind of remote. */
  readonly mirrorPace: MirrorPace | undefined;
  /** Milliseconds between two looks at the mirror's branches. */
  readonly mirrorRefresh: number;
  /** Most bytes of a pack that is pushed to the mirror; more goes in parts. */
  readonly mirrorMaxPush: number;
  /** Milliseconds without a word after which a connection to the mirror is given up. */
  readonly mirrorTimeout: number;
}

/** What flags may say; each wins over the environment and the file. */
export interface SettingFlags {
  readonly listen?: string | undefined;
  readonly adminListen?: string | undefined;
  readonly socket?: string | undefined;
  readonly mirrorRemote?: string | undefined;
  readonly policyPath?: string | undefined;
}

const DEFAULT_LISTEN = "127.0.0.1:8418";
const DEFAULT_ADMIN_LISTEN = "127.0.0.1:9418";
const DEFAULT_BACKLOG_LIMIT = 10_000;
const DEFAULT_MIN_FREE = 256 * 1024 * 1024;
/** As hosts ask for: GitHub allows about six pushes a minute. */
export const HOST_PACE: MirrorPace = { burst: 5, interval: 10_000 };
const DEFAULT_REFRESH = 60_000;
/** GitHub takes 2 GB. */
const DEFAULT_MAX_PUSH = 1_900_000_000;
const DEFAULT_TIMEOUT = 300_000;

/** How the folders in it begin that something of the mirror is looked at in. */
export const LOOK = "look-";

/** The folder of the Stargate's own files. */
export function stargateDir(gitDir: string): string {
  return path.join(gitDir, "stargate");
}

/** True where `init` has made the repository at `gitDir` a Stargate's. */
export function isStargateRepository(gitDir: string): boolean {
  return fs.existsSync(path.join(gitDir, SETTINGS_FILE));
}

/** Content of one of the Stargate's own files, undefined where there is none. Throws CONFIG where something else is in its place, IO. */
export function readOwnFile(file: string): Buffer | undefined {
  try {
    return fs.readFileSync(file);
  } catch (error) {
    const code = errorCode(error);
    if (code === "ENOENT") return undefined;
    if (code !== "EISDIR") throw toKvError(error);
    throw new KvError("CONFIG", `${file} is a folder where a file should be`, { hint: "move it away" });
  }
}

/** Reads the settings of the repository at `gitDir`. Throws CONFIG with every problem of the file, each with its line. */
export function loadSettings(
  gitDir: string,
  flags: SettingFlags = {},
  env: Readonly<Record<string, string | undefined>> = {},
): Settings {
  const file = path.join(gitDir, SETTINGS_FILE);
  const bytes = readOwnFile(file);
  const written: SettingsFile = bytes === undefined ? {} : requireYaml(bytes.toString("utf8"), settingsSchema, file);
  const { mirror } = written;
  const hasPace = mirror?.burst !== undefined || mirror?.interval !== undefined;
  const socket = flags.socket ?? setting(env, "STARGATE_SOCKET") ?? written.socket;
  return {
    listen: flags.listen ?? setting(env, "STARGATE_LISTEN") ?? written.listen ?? DEFAULT_LISTEN,
    adminListen: adminListen(flags.adminListen ?? setting(env, "STARGATE_ADMIN_LISTEN") ?? written.admin_listen),
    backlogLimit: written.backlog_limit ?? DEFAULT_BACKLOG_LIMIT,
    webhooks: (written.webhooks ?? []).map((hook) => withAbsolutePaths(hook, gitDir)),
    minFree: written.min_free ?? DEFAULT_MIN_FREE,
    socket: socket === undefined ? path.join(stargateDir(gitDir), "socket") : path.resolve(gitDir, socket),
    policyPath: flags.policyPath ?? setting(env, "STARGATE_POLICY_PATH") ?? written.policy_path ?? POLICY_PATH,
    anonymousRead: flagSetting(env, "STARGATE_ANONYMOUS_READ") ?? written.anonymous_read ?? false,
    mirrorRemote: flags.mirrorRemote ?? setting(env, "STARGATE_MIRROR_REMOTE") ?? mirror?.remote,
    mirrorPace: hasPace
      ? { burst: mirror?.burst ?? HOST_PACE.burst, interval: mirror?.interval ?? HOST_PACE.interval }
      : undefined,
    mirrorRefresh: mirror?.refresh ?? DEFAULT_REFRESH,
    mirrorMaxPush: mirror?.max_push ?? DEFAULT_MAX_PUSH,
    mirrorTimeout: mirror?.timeout ?? DEFAULT_TIMEOUT,
  };
}

/** A listener's address: `127.0.0.1:8418`, `[::1]:8418`, `:8418` (the loopback) or `8418`. Throws CONFIG. */
export function parseListen(text: string): { readonly hostname: string; readonly port: number } {
  const match = /^(?:(?:\[([0-9A-Fa-f:.]+)\]|([^:[\]/]*)):)?(\d{1,5})$/.exec(text);
  const port = Number(match?.[3]);
  if (match === null || port > 65_535) {
    throw new KvError("CONFIG", `'${text}' is no address to listen on`, {
      hint: "write host:port, as in 127.0.0.1:8418",
    });
  }
  return { hostname: match[1] ?? (match[2] || "127.0.0.1"), port };
}

function withAbsolutePaths(hook: WebhookSettings, gitDir: string): WebhookSettings {
  if ("repository" in hook) {
    return hook.token_file === undefined ? hook : { ...hook, token_file: path.resolve(gitDir, hook.token_file) };
  }
  return hook.secret_file === undefined ? hook : { ...hook, secret_file: path.resolve(gitDir, hook.secret_file) };
}

function adminListen(text: string | undefined): AdminListen {
  if (text === undefined) return { address: DEFAULT_ADMIN_LISTEN, isDefault: true };
  return { address: /^(?:off|none|false)$/i.test(text) ? undefined : text, isDefault: false };
}

/** An environment variable; an empty one counts as not set. */
function setting(env: Readonly<Record<string, string | undefined>>, name: string): string | undefined {
  return env[name] || undefined;
}

function flagSetting(env: Readonly<Record<string, string | undefined>>, name: string): boolean | undefined {
  const text = setting(env, name);
  if (text === undefined) return undefined;
  if (/^(?:1|true|yes|on)$/i.test(text)) return true;
  if (/^(?:0|false|no|off)$/i.test(text)) return false;
  throw new KvError("CONFIG", `${name} is '${text}'`, { hint: "write true or false" });
}
