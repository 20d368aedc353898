/** What this program is: `version` and `--version`. */

import { version } from "../../package.json";
import { BUILD } from "../build-id.ts";
import type { Program } from "./command.ts";
import type { Output } from "./output.ts";

/** Version of the data format that is read and written (docs/formats). */
const FORMAT = 1;

export function showVersion(program: Program, out: Output): void {
  const commit = BUILD ?? "unknown";
  if (out.json) out.record({ version, commit, bun: Bun.version, format: FORMAT });
  else out.line(`${program.name} ${version} (commit ${commit}, bun ${Bun.version}, format ${FORMAT})`);
}
