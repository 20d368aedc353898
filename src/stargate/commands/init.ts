/** `git-kv-stargate init`: sets a Stargate up. */

import * as fs from "node:fs";
import * as path from "node:path";
import type { Context } from "../../cli/context.ts";
import { KvError } from "../../errors.ts";
import { objectFormat } from "../../gitwire/object/oid.ts";
import { parseUrl } from "../../gitwire/transport/url.ts";
import { parseNamespace } from "../../kv/namespace.ts";
import { addressProblem } from "../../kv/policy-warnings.ts";
import { ownProgram } from "../hooks.ts";
import { type InitReport, initialize, readAdminKey } from "../initialize.ts";

export async function run(context: Context): Promise<void> {
  const { flags, out, cwd, env, clock, signal } = context;
  const repo = flags.value("repo") ?? env.STARGATE_REPO;
  if (repo === undefined || repo === "") {
    throw new KvError("USAGE", "--repo is missing", {
      hint: "say where the bare repository is to be: --repo /srv/git/kv.git",
    });
  }
  const dir = path.resolve(cwd, repo);
  warnOfOwner(context, dir);
  const format = flags.value("object-format");
  const pushUrl = flags.value("push-url");
  const problem = pushUrl === undefined ? undefined : addressProblem(pushUrl);
  if (problem !== undefined) throw new KvError("INPUT_INVALID", `--push-url: ${problem}`);
  const keyFile = flags.value("admin-key");
  const report = await initialize({
    dir,
    mirrorUrl: mirrorUrl(flags.value("mirror-remote"), cwd),
    pushUrl,
    adminKey: keyFile === undefined ? undefined : readAdminKey(path.resolve(cwd, keyFile)),
    ns: parseNamespace(flags.value("ns") ?? "main"),
    format: format === undefined ? undefined : objectFormat(format),
    catchUp: flags.on("catch-up"),
    replaceHooks: flags.on("replace-hooks"),
    program: ownProgram(),
    env,
    clock,
    signal,
    progress: (text) => out.progress(text),
  });
  if (out.json) out.record(report);
  else tell(context, report);
}

/** What is written in a repository of another account may be closed to the daemon that runs as that. */
function warnOfOwner({ out }: Context, dir: string): void {
  const uid = fs.statSync(dir, { throwIfNoEntry: false })?.uid;
  if (uid === undefined || uid === process.geteuid?.()) return;
  out.warn(
    `${dir} belongs to the account ${uid}: run this as that one, so that its daemon can use what is written (runuser -u)`,
  );
}

function mirrorUrl(text: string | undefined, cwd: string): string | undefined {
  if (text === undefined) return undefined;
  // The daemon runs elsewhere: a relative path would mean another place to it.
  return parseUrl(text).kind === "local" && !text.includes("://") && !text.startsWith("~")
    ? path.resolve(cwd, text)
    : text;
}

function tell({ out }: Context, report: InitReport): void {
  const { gitDir, isNew, policy, signaturesRequired, mirror, caughtUp, mirrorHasMore, mirrorError } = report;
  out.line(`${isNew ? "initialized" : "already a repository, set up"}: ${gitDir}`);
  out.line(policy === "written" ? "policy: a first one was written" : "policy: the one on the default branch");
  if (mirror !== undefined) out.line(`mirror: ${mirror}${mirrorError === undefined ? "" : " (not reached)"}`);
  for (const { ns, from, to } of caughtUp)
    out.line(`taken over from the mirror: transactions ${from} to ${to} of '${ns}', verified`);
  if (mirrorHasMore) {
    out.warn(
      "the mirror has what is not here, and 'serve' takes no writes beside that: after a restore 'git-kv-stargate init --catch-up' takes " +
        "over what follows; 'git-kv-stargate sync' shows what it is",
    );
  }
  if (mirrorError !== undefined)
    out.warn(`the mirror could not be brought up to date, 'serve' goes on trying: ${mirrorError}`);
  if (signaturesRequired) {
    out.note("the policy requires signed transactions: those whose key it lists as a writer are let in");
  } else {
    out.warn("signatures are not required: a token alone lets a writer in");
  }
  out.hint(
    `make a token with 'git-kv-stargate token add --repo ${gitDir} --name NAME', then 'git-kv-stargate serve --repo ${gitDir}'`,
  );
}
