/** `git-kv-stargate serve`: the daemon. */

import type { Context } from "../../cli/context.ts";
import { EXIT, type KvError } from "../../errors.ts";
import { Daemon } from "../daemon.ts";
import { jsonLog } from "../log.ts";
import { repositorySpecs, requireRepository } from "./common.ts";

export async function run(context: Context): Promise<number> {
  const { flags, out, env, clock, signal } = context;
  const repositories = repositorySpecs(context);
  for (const { dir } of repositories) requireRepository(dir, env).close();
  let failure: KvError | undefined;
  const stopped = Promise.withResolvers<void>();
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
    log: jsonLog(
      (line) => out.note(line),
      () => clock.now(),
    ),
    warn: (text) => out.warn(text),
    onFailure: (error) => {
      failure = error;
      stopped.resolve();
    },
  });
  for (const listener of daemon.listeners) out.note(`listening on ${listener}`);
  signal.addEventListener("abort", () => stopped.resolve(), { once: true });
  if (signal.aborted) stopped.resolve();
  await stopped.promise;
  await daemon.stop();
  if (failure !== undefined) throw failure;
  return EXIT.ok;
}
