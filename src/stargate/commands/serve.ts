/** `git-kv-stargate serve`: the daemon. */

import type { Context } from "../../cli/context.ts";
import { EXIT, type KvError, toKvError } from "../../errors.ts";
import { limitKeptIndexes } from "../../gitwire/pack/kept-indexes.ts";
import { LIMITS } from "../../limits.ts";
import { AGENT } from "../agent.ts";
import { CombineProcess } from "../combine-process.ts";
import { Daemon } from "../daemon.ts";
import { ownProgram } from "../hooks.ts";
import { jsonLog, type Log } from "../log.ts";
import type { ServiceManager } from "../service-manager.ts";
import { repositorySpecs, requireRepository } from "./common.ts";

export async function run(context: Context): Promise<number> {
  const { flags, out, env, clock, signal } = context;
  const repositories = repositorySpecs(context);
  for (const { dir } of repositories) requireRepository(dir, env).close();
  limitKeptIndexes(LIMITS.keptIndexes);
  let failure: KvError | undefined;
  const stopped = Promise.withResolvers<void>();
  const log = jsonLog(
    (line) => out.note(line),
    () => clock.now(),
  );
  const combining = new CombineProcess([...ownProgram(), "combine-packs"], log);
  const daemon = await Daemon.start({
    repositories,
    flags: {
      listen: flags.value("listen"),
      adminListen: flags.value("admin-listen"),
      socket: flags.value("socket"),
      mirrorRemote: flags.value("mirror-remote"),
      policyPath: flags.value("policy-path"),
    },
    env,
    clock,
    log,
    warn: (text) => out.warn(text),
    combine: combining.combine,
    onFailure: (error) => {
      failure = error;
      stopped.resolve();
    },
  });
  for (const listener of daemon.listeners) out.note(`listening on ${listener}`);
  const repos = repositories.map(({ name }) => name);
  log("info", "daemon", { result: "started", version: AGENT, pid: process.pid, repos, listeners: daemon.listeners });
  const manager = await serviceManager(env, log);
  const status = `serving ${repos.join(", ")}`;
  const hangUp = async (): Promise<void> => {
    manager?.reloading();
    await daemon.reload();
    manager?.ready(status);
  };
  process.on("SIGHUP", hangUp);
  manager?.ready(status);
  signal.addEventListener("abort", () => stopped.resolve(), { once: true });
  if (signal.aborted) stopped.resolve();
  await stopped.promise;
  process.off("SIGHUP", hangUp);
  manager?.stopping();
  const since = performance.now();
  log(failure === undefined ? "info" : "error", "daemon", { result: "stopping", ...(failure && reasonOf(failure)) });
  await daemon.stop();
  log("info", "daemon", { result: "stopped", ms: Math.round(performance.now() - since) });
  await combining.close();
  manager?.close();
  if (failure !== undefined) throw failure;
  return EXIT.ok;
}

function reasonOf({ code, message }: KvError): { readonly code: string; readonly message: string } {
  return { code, message };
}

/** systemd, where it started us and wants to be told. */
async function serviceManager(env: Context["env"], log: Log): Promise<ServiceManager | undefined> {
  if (!env.NOTIFY_SOCKET) return undefined;
  try {
    const { ServiceManager } = await import("../service-manager.ts");
    return ServiceManager.of(env);
  } catch (error) {
    log("warn", "daemon", { message: `the service manager cannot be told: ${toKvError(error).message}` });
    return undefined;
  }
}
