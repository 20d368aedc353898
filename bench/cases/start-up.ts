/** How long a program of ours takes to say its version, against an empty one that is compiled the same way. */

import * as fs from "node:fs";
import { compileOptions } from "../../scripts/compile.ts";
import { compareRuns } from "../measure.ts";
import { countSyscalls, showCounts } from "../syscalls.ts";
import { timesOther } from "../table.ts";
import type { Case } from "./case.ts";

export const startUp: Case = async ({ scratch, runs }) => {
  const entry = scratch.path("empty.ts");
  const empty = scratch.path("empty");
  fs.writeFileSync(entry, "export {};\n");
  const built = await Bun.build(compileOptions(entry, empty, "none"));
  if (!built.success) throw new Error(`cannot compile the empty program: ${built.logs.join("\n")}`);
  const command = [scratch.gitKv, "version"];
  const ms = compareRuns(runs.short, {
    ours: () => scratch.run("", command).ms,
    empty: () => scratch.run("", [empty]).ms,
    git: () => scratch.run("", ["git", "--version"]).ms,
  });
  const counts = countSyscalls(scratch.root, command, { cwd: scratch.root, env: scratch.env });
  const name = "version";
  return [
    {
      name,
      unit: "ms",
      ours: ms.ours,
      other: { name: "empty program", value: ms.empty },
      target: timesOther(2),
      extra: showCounts(counts),
    },
    { name, unit: "ms", ours: ms.ours, other: { name: "git --version", value: ms.git } },
  ];
};
