/** What this program is: `version` and `--version`. */

import { version } from "../../package.json";
import type { Program } from "./command.ts";
import type { Output } from "./output.ts";

/** Version of the data format that is read and written (docs/formats). */
const FORMAT = 1;

/** The commit the executable was built from; put in by build.ts, absent when run from source. */
declare const GIT_KV_COMMIT: string | undefined;

export function showVersion(program: Program, out: Output): void {
  const commit = typeof GIT_KV_COMMIT === "string" ? GIT_KV_COMMIT : "unknown";
  if (out.json) out.record({ version, commit, bun: Bun.version, format: FORMAT });
  else out.line(`${program.name} ${version} (commit ${commit}, bun ${Bun.version}, format ${FORMAT})`);
}
