/**
 * Who writes a commit, as git decides it (git-commit-tree, "Commit information"): environment, then `author.*` or
 * `committer.*`, then `user.*`, then the login name at this host.
 */

import type * as Os from "node:os";
import type { Clock } from "../clock.ts";
import { KvError } from "../errors.ts";
import { LIMITS } from "../limits.ts";
import type { Ident } from "./object/commit.ts";

/** The part of git config an ident needs. */
interface Settings {
  get(name: string): string | undefined;
}

type Environment = Readonly<Record<string, string | undefined>>;

/** The author or committer of a commit made now. Throws CONFIG for a date in the environment that cannot be read. */
export function identFor(role: Role, config: Settings, env: Environment, clock: Clock): Ident {
  const { name, email } = configured(role, config, env);
  const variable = `GIT_${role.toUpperCase()}_DATE`;
  const date = env[variable];
  const when = date ? parseIdentDate(date, variable) : now(clock);
  return { name: name || loginName(env), email: email || `${loginName(env)}@${os().hostname()}`, ...when };
}

/** Throws CONFIG where `user.useConfigOnly` wants a name and an address that nobody has set: no commit is made then. */
export function requireIdent(
  role: Role,
  config: Settings & { getBool(name: string): boolean | undefined },
  env: Environment,
): void {
  const { name, email } = configured(role, config, env);
  if ((name && email) || config.getBool("user.useConfigOnly") !== true) return;
  const missing = name ? "email" : "name";
  throw new KvError("CONFIG", `there is no user.${missing}, and user.useConfigOnly forbids to guess it`, {
    hint: `git config --global user.${missing} ...`,
  });
}

type Role = "author" | "committer";

function configured(role: Role, config: Settings, env: Environment): { name?: string; email?: string } {
  const variable = `GIT_${role.toUpperCase()}_`;
  const name = env[`${variable}NAME`] || config.get(`${role}.name`) || config.get("user.name");
  const email = env[`${variable}EMAIL`] || config.get(`${role}.email`) || config.get("user.email") || env.EMAIL;
  return { ...(name && { name }), ...(email && { email }) };
}

/** Loaded when it is needed: most identities are configured, and a reader has none. */
function os(): typeof Os {
  return process.getBuiltinModule("node:os");
}

function loginName(env: Environment): string {
  try {
    return os().userInfo().username;
  } catch {
    // A container may run under a user id that no passwd file knows.
    return env.USER || env.LOGNAME || "unknown";
  }
}

function now(clock: Clock): Pick<Ident, "seconds" | "offset"> {
  const at = clock.now();
  return { seconds: Math.floor(at / 1000), offset: clock.utcOffset(at) };
}

const RAW_DATE = /^@?(\d{1,15})(?: ([+-])(\d\d)(\d\d))?$/;
const ZONE = /([+-])(\d\d):?(\d\d)$/;

/** Reads git's internal date format (`@seconds zone`), ISO 8601 or RFC 2822; without a zone it is UTC. */
function parseIdentDate(text: string, variable: string): Pick<Ident, "seconds" | "offset"> {
  const raw = RAW_DATE.exec(text.trim());
  const zone = ZONE.exec(text.trim());
  // There is no such time zone, and a hundred hours would not even fit into four digits.
  if (zone !== null && (Number(zone[2]) > 23 || Number(zone[3]) > 59)) {
    throw new KvError("CONFIG", `${variable} is not a date: '${text}'`);
  }
  if (raw !== null && (text.startsWith("@") || raw[1]!.length > 8)) {
    return { seconds: inRange(Number(raw[1]), text, variable), offset: zoneMinutes(raw[2], raw[3], raw[4]) };
  }
  const zoned = zone !== null || /(?:Z|GMT|UTC)$/i.test(text.trim());
  // What else begins with @ is read as a date of some year by Date.parse.
  const parsed = text.trim().startsWith("@") ? Number.NaN : Date.parse(zoned ? text : `${text} Z`);
  const seconds = inRange(Math.floor(parsed / 1000), text, variable);
  return { seconds, offset: zone === null ? 0 : zoneMinutes(zone[1], zone[2], zone[3]) };
}

/** A commit holds no time before 1970, and none after 9999 can be shown. */
function inRange(seconds: number, text: string, variable: string): number {
  if (seconds >= 0 && seconds <= LIMITS.latestTime) return seconds;
  const what = Number.isNaN(seconds) ? "not a date" : "not between 1970 and 9999";
  throw new KvError("CONFIG", `${variable} is ${what}: '${text}'`);
}

function zoneMinutes(sign: string | undefined, hours: string | undefined, minutes: string | undefined): number {
  if (sign === undefined) return 0;
  const offset = Number(hours) * 60 + Number(minutes);
  return sign === "-" && offset !== 0 ? -offset : offset;
}
