/** `git-kv-stargate shell`: sshd's forced command. */

import type { Context } from "../../cli/context.ts";
import { KvError } from "../../errors.ts";
import { openRepository, type Repository } from "../../gitwire/repo.ts";
import { parseRepositorySpec, samePlace } from "../registry.ts";
import { parseSshCommand } from "../ssh-command.ts";
import type { Scope } from "../tokens.ts";
import { printStatus } from "./status.ts";
import { serveStdio } from "./stdio.ts";

export async function run(context: Context): Promise<void> {
  const { env, flags } = context;
  const original = env.SSH_ORIGINAL_COMMAND;
  if (original === undefined || original === "") {
    throw new KvError("FORBIDDEN", "there is no login here", { hint: "use this address with git or git kv" });
  }
  const { service, repo: asked } = parseSshCommand(original);
  const repo = findRepository(context, asked);
  const who = { name: flags.value("user") ?? env.USER ?? "ssh", scope: (flags.value("scope") ?? "write") as Scope };
  if (service === "status") await printStatus(context, repo, true);
  else await serveStdio(context, service, repo, who);
}

/** The repository a client means, out of those that were configured; the file system is not searched. */
function findRepository({ flags, env, cwd }: Context, asked: string): Repository {
  const given = flags.values("repo");
  const texts = given.length > 0 ? given : (env.STARGATE_REPO ?? "").split(":").filter((text) => text !== "");
  const name = asked.replace(/^\//, "");
  for (const spec of texts.map((text) => parseRepositorySpec(text, cwd))) {
    const isNamed = spec.name === name || spec.name === `${name}.git`;
    if (!isNamed && !(asked.startsWith("/") && samePlace(spec.dir, asked))) continue;
    return openRepository(spec.dir, env);
  }
  throw new KvError("NOT_A_REPOSITORY", "no such repository is served here");
}
