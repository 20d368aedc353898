/** `git-kv-stargate restore`: makes a repository from a backup. */

import * as path from "node:path";
import type { Context } from "../../cli/context.ts";
import { KvError } from "../../errors.ts";
import { openPlace } from "../backup/place.ts";
import { restoreBackup } from "../backup/restore-backup.ts";
import { ownProgram } from "../hooks.ts";

export async function run(context: Context): Promise<void> {
  const { flags, out, cwd, env, clock, signal } = context;
  const [from, repo] = [flags.value("from"), flags.value("repo")];
  const check = flags.on("check");
  if (from === undefined) throw new KvError("USAGE", "--from is missing", { hint: "say where the backups are" });
  if (repo === undefined && !check) {
    throw new KvError("USAGE", "--repo is missing", { hint: "say where the repository is to be, or --check it only" });
  }
  const report = await restoreBackup({
    place: openPlace(from, cwd, env),
    at: flags.value("at"),
    dir: repo === undefined ? path.join(env.TMPDIR || "/tmp", "git-kv") : path.resolve(cwd, repo),
    check,
    program: ownProgram(),
    env,
    clock,
    signal,
    progress: (text) => out.progress(text),
  });
  out.progress("");
  if (out.json) return out.record(report);
  const { id, refs, objects, transactions, dir } = report;
  out.line(
    `${dir === null ? "verified" : "restored"} ${id}: ${refs} refs, ${objects} objects, ${transactions} transactions`,
  );
  if (dir === null) return;
  out.warn(
    `where there is a mirror, 'git-kv-stargate init --repo ${dir} --catch-up' brings what was accepted after the backup; until the ` +
      "mirror was seen 'serve' takes no writes, nor to what the mirror has more of",
  );
}
