/** `git-kv-stargate shell`: sshd's forced command. */

import type { Context } from "../../cli/context.ts";
import { KvError } from "../../errors.ts";
import { openRepository, type Repository } from "../../gitwire/repo.ts";
import { parseRepositorySpec, samePlace } from "../registry.ts";
import { parseSshCommand } from "../ssh-command.ts";
import { policyOf, sshIdentity } from "../ssh-identity.ts";
import { errorAnswer } from "../sync-call.ts";
import type { Identity, Scope } from "../tokens.ts";
import { readStatus } from "./status.ts";
import { refusing, serveStdio } from "./stdio.ts";
import { askSync } from "./sync.ts";

export async function run(context: Context): Promise<void> {
  const { env } = context;
  const original = env.SSH_ORIGINAL_COMMAND;
  if (original === undefined || original === "") {
    throw new KvError("FORBIDDEN", "there is no login here", { hint: "use this address with git or git kv" });
  }
  const { service, repo: asked, sync } = parseSshCommand(original);
  const begin = async (): Promise<[Repository, Identity]> => {
    const repo = findRepository(context, asked);
    return [repo, await identify(context, repo)];
  };
  if (service === "git-receive-pack" || service === "git-upload-pack") {
    const [repo, who] = await refusing(context, begin);
    await serveStdio(context, service, repo, who);
    return;
  }
  await answering(context, async () => {
    const [repo, who] = await begin();
    return service === "status" ? readStatus(context, repo) : askSync(context, repo, sync!, who);
  });
}

/** Answers with what `ask` comes to, one JSON object. What it throws is told the client so too, with its code, and thrown on. */
async function answering({ out }: Context, ask: () => Promise<object>): Promise<void> {
  try {
    out.record(await ask());
  } catch (thrown) {
    out.record(errorAnswer(thrown));
    throw thrown;
  }
}

/** Who has logged in: with `--key` the policy says at this moment what they may do, and `--scope` only takes from it. */
async function identify({ flags, env, clock }: Context, repo: Repository): Promise<Identity> {
  const name = flags.value("user") ?? env.USER ?? "ssh";
  const scope = flags.value("scope") as Scope | undefined;
  const key = flags.value("key");
  if (key === undefined) return { name, scope: scope ?? "write", door: "ssh" };
  return sshIdentity(policyOf(repo), key, scope ?? "admin", name, clock.now());
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
