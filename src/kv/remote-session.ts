/** Connections of a workspace: to the remote it reads from and to the Stargate it writes to. */

import { AGENT } from "../agent.ts";
import { type Code, KvError } from "../errors.ts";
import type { GitConfig } from "../gitwire/config.ts";
import type { Oid } from "../gitwire/object/oid.ts";
import { type FetchOrder, fetchPack, lsRefs } from "../gitwire/protocol/fetch-pack.ts";
import { WHOLE_HISTORY } from "../gitwire/protocol/fetch-scope.ts";
import type { Service } from "../gitwire/protocol/ref-advertisement.ts";
import type { Transport } from "../gitwire/protocol/transport.ts";
import type { Repository } from "../gitwire/repo.ts";
import type { PackKeeps } from "../gitwire/store/pack-keep.ts";
import { connect } from "../gitwire/transport/connect.ts";
import type { ConnectOptions } from "../gitwire/transport/connect-options.ts";
import { findRemote } from "../gitwire/transport/remote.ts";
import { redactUrl } from "../gitwire/transport/url.ts";
import { noticeServerDate } from "./clock-skew.ts";
import { addWhole, isPartialClone, readWhole } from "./partial-clone.ts";
import { codedRefusal, ServerWords } from "./server-words.ts";
import type { Surroundings, Workspace } from "./workspace.ts";

/** Refs of the other side by name. */
export type RemoteRefMap = ReadonlyMap<string, Oid>;

/** The address reads go to. Throws CONFIG where the remote is not configured. */
export function fetchUrl(workspace: Workspace): string {
  return workspace.copy?.url ?? configured(workspace).urls[0]!;
}

/** The address writes go to: the Stargate. Throws CONFIG where the remote is not configured. */
export function pushUrl(workspace: Workspace): string {
  return workspace.copy?.url ?? configured(workspace).pushUrls[0]!;
}

/** Whether there is a remote to read from. */
export function hasRemote(workspace: Workspace): boolean {
  return workspace.copy !== undefined || findRemote(workspace.repo.config, workspace.remote).configured;
}

function configured(workspace: Workspace): ReturnType<typeof findRemote> {
  const remote = findRemote(workspace.repo.config, workspace.remote);
  if (remote.configured) return remote;
  throw new KvError("CONFIG", `there is no remote '${workspace.remote}' in this repository`, {
    hint: `git remote add ${workspace.remote} URL, or clone with 'git kv clone URL'`,
  });
}

/**
 * Runs `use` over one connection, with a place for what the server says, and closes it whatever happens. What breaks in
 * the middle names the address.
 */
export async function withConnection<T>(
  repo: Repository,
  around: Surroundings,
  url: string,
  service: Service,
  use: (transport: Transport, words: ServerWords) => Promise<T>,
): Promise<T> {
  const words = new ServerWords(around, "remote: ");
  // What ssh writes to stderr is its own words or the other side's; git puts nothing before them either.
  const aside = new ServerWords(around, "");
  const transport = await openConnection(repo, around, url, service, aside);
  try {
    return await use(transport, words);
  } catch (error) {
    throw namingAddress(transport.url, codedError(error, aside));
  } finally {
    await transport.close();
    words.end();
    aside.end();
  }
}

/** A connection that the caller closes; what ssh says goes to `aside`. */
export function openConnection(
  repo: Repository,
  around: Surroundings,
  url: string,
  service: Service,
  aside: ServerWords,
  more: Pick<ConnectOptions, "anonymous"> = {},
): Promise<Transport> {
  const { config } = repo;
  const { env, signal } = around;
  const onMessage = aside.hear;
  const onDate = (date: string): void => noticeServerDate(around, redactUrl(url), date);
  const own = ownOptions(config, url, service);
  const logins = LOGINS.get(around) ?? new Map();
  LOGINS.set(around, logins);
  return connect(url, service, { config, env, agent: AGENT, logins, onMessage, onDate, signal, ...own, ...more });
}

/** A command asks for the password of a server once, however many connections it makes. */
const LOGINS = new WeakMap<Surroundings, NonNullable<ConnectOptions["logins"]>>();

/** What `remote.<name>.*` says of connections to an address of that remote. */
function ownOptions(
  config: GitConfig,
  url: string,
  service: Service,
): Pick<ConnectOptions, "program" | "proxy" | "proxyAuthMethod"> {
  for (const name of config.subsections("remote")) {
    const { urls, pushUrls, uploadPack, receivePack, proxy, proxyAuthMethod } = findRemote(config, name);
    const isPush = service === "git-receive-pack";
    if ((isPush ? pushUrls : [...urls, ...pushUrls]).includes(url))
      return { program: isPush ? receivePack : uploadPack, proxy, proxyAuthMethod };
  }
  return {};
}

/** What may keep a session from beginning. Other codes speak of keys and states, of which nobody is asked then. */
const BEFORE_SESSIONS: readonly Code[] = [
  "NOT_LEADER",
  "FORBIDDEN",
  "NOT_A_REPOSITORY",
  "POLICY_UNTRUSTED",
  "STORAGE",
  "BUSY",
];

/** A Stargate's refusal to begin, as that code: `CODE: sentence` in the place of the first packet, its hint in the line after. */
function codedError(thrown: unknown, aside: ServerWords): unknown {
  if (!(thrown instanceof KvError) || thrown.code !== "REMOTE_REJECTED") return thrown;
  const [text = "", hint] = thrown.message.replace(/^remote error: /, "").split(/\nhint: /);
  const refusal = codedRefusal(text);
  if (refusal === undefined || !BEFORE_SESSIONS.includes(refusal.code)) return thrown;
  // Over SSH the same words come beside it, or are on their way.
  aside.takeHint();
  return new KvError(refusal.code, refusal.message, { cause: thrown, ...(hint !== undefined && { hint }) });
}

/** What reads packets does not know whose they are: here a broken connection and a broken answer get their address. */
export function namingAddress(url: string, thrown: unknown): unknown {
  if (!(thrown instanceof KvError) || !(thrown.code === "NETWORK" || thrown.code === "PROTOCOL")) return thrown;
  const { code, message, hint, data } = thrown;
  if (message.includes(url)) return thrown;
  return new KvError(code, `${url}: ${message}`, {
    cause: thrown,
    ...(hint !== undefined && { hint }),
    ...(data !== undefined && { data }),
  });
}

/** Fetches, and tells how much has arrived. */
export async function receive(
  transport: Transport,
  { progress, signal, clock }: Surroundings,
  words: ServerWords,
  order: Pick<FetchOrder, "wants" | "haves" | "destination" | "keeps" | "scope">,
): Promise<void> {
  const { ProgressMeter } = await import("./progress-meter.ts");
  const meter = new ProgressMeter("receiving", progress, () => clock.now());
  const onBytes = (received: number): void => meter.tell(received, undefined);
  try {
    await fetchPack(transport, { ...order, agent: AGENT, progress: words.hear, onBytes, signal });
  } finally {
    meter.end();
  }
}

/** How {@link fetchObjects} fetches. */
export interface FetchWays {
  /** Holds what arrives. */
  readonly keeps?: PackKeeps | undefined;
  /** Brings the history of a shallow repository too, of values that are here as well. */
  readonly deepens?: boolean;
}

/**
 * Lists the refs at `url` under `prefixes`, lets `choose` say which values are wanted, and fetches those and what they need
 * into the repository. Returns the refs. The local refs are the caller's to move; what `keeps` holds until then is safe from a
 * `git gc` in another process.
 */
export async function fetchObjects(
  repo: Repository,
  around: Surroundings,
  url: string,
  prefixes: readonly string[],
  choose: (refs: RemoteRefMap) => readonly Oid[] = (refs) => [...refs.values()],
  { keeps, deepens = false }: FetchWays = {},
): Promise<RemoteRefMap> {
  return withConnection(repo, around, url, "git-upload-pack", async (transport, words) => {
    const found = await lsRefs(transport, prefixes, { agent: AGENT });
    const refs: RemoteRefMap = new Map(found.refs.map(({ name, oid }) => [name, oid]));
    const whole = isPartialClone(repo) ? new Set(readWhole(repo)) : undefined;
    const ours = new Set(found.refs.flatMap(({ name, oid }) => (name.startsWith("refs/kv") ? [oid] : [])));
    const isHere = (oid: Oid): boolean =>
      whole !== undefined && ours.has(oid) ? whole.has(oid) : repo.objects.has(oid);
    const wants = choose(refs).filter((oid) => deepens || !isHere(oid));
    if (wants.length > 0) {
      const completed = whole === undefined ? [] : wants.filter((oid) => ours.has(oid));
      const haves = completed.length > 0 ? [...whole!] : repo.refs.list().map(({ oid }) => oid);
      const scope = deepens ? { depth: WHOLE_HISTORY } : {};
      await receive(transport, around, words, { wants, haves, destination: repo, keeps, scope });
      if (completed.length > 0) addWhole(repo, completed);
    }
    return refs;
  });
}
