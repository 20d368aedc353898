/** `git-kv-stargate backup`: backs a repository up. */

import type { Context } from "../../cli/context.ts";
import { KvError } from "../../errors.ts";
import { makeBackup } from "../backup/make-backup.ts";
import { openPlace } from "../backup/place.ts";
import { isStargateRepository } from "../settings.ts";
import { oneRepository } from "./common.ts";

export async function run(context: Context): Promise<void> {
  const { flags, out, cwd, env, clock, signal } = context;
  const to = flags.value("to");
  if (to === undefined) {
    throw new KvError("USAGE", "--to is missing", { hint: "say where to: --to /backup/kv or --to s3://bucket/kv" });
  }
  const repo = oneRepository(context);
  if (!isStargateRepository(repo.gitDir)) {
    throw new KvError("NOT_A_REPOSITORY", `'${repo.gitDir}' is not a Stargate's repository`);
  }
  try {
    const report = await makeBackup({ repo, place: openPlace(to, cwd, env), full: flags.on("full"), clock, signal });
    const { id, base, refs, objects, bytes, checked, checkedSince } = report;
    if (out.json) out.record(report);
    else {
      out.line(id);
      const kind = base === null ? "whole" : `on top of ${base}`;
      out.note(`${refs} refs, ${objects} objects, ${bytes} bytes written and read back, ${kind}`);
      if (base !== null) {
        const all = checkedSince === null ? "some have not been so far" : `each has been since ${checkedSince}`;
        out.note(`packs of earlier backups: ${checked} read back now; ${all}`);
      }
    }
  } finally {
    repo.close();
  }
}
