/** Random histories, made by `git fast-import`: merges, tags, deletions, moved directories, executable files, clock skew. */

import { git, gitInput } from "./git.ts";
import type { Random } from "./random.ts";

export interface History {
  /** Adds `count` random commits to the branches of the repository. */
  grow(count: number): void;
}

/** Grows random history in the repository `dir`. `skew`: commit dates may run backwards. */
export function randomHistory(dir: string, rnd: Random, options: { skew?: boolean } = {}): History {
  let marks = 0;
  let tags = 0;
  let clock = 1_700_000_000;
  const tips = new Map<string, string>();
  const commits: string[] = [];
  const commitStream = (): string => {
    const branch = `refs/${rnd.pick(["heads/main", "heads/main", "heads/side", "kv/main", "heads/deep/er"])}`;
    clock += options.skew === true ? rnd.int(5_000) - 2_400 : rnd.int(3);
    const mark = `:${++marks}`;
    const parent = tips.get(branch) ?? (commits.length > 0 && rnd.int(4) > 0 ? rnd.pick(commits) : undefined);
    const other = commits.length > 3 && rnd.int(5) === 0 ? rnd.pick(commits) : undefined;
    const lines = [`commit ${branch}`, `mark ${mark}`, `committer C <c@d> ${clock} +0000`, "data 2", "m", ""];
    if (parent !== undefined) lines.push(`from ${parent}`);
    if (other !== undefined && other !== parent) lines.push(`merge ${other}`);
    for (let n = rnd.int(6); n >= 0; n--) {
      const path = `${rnd.pick(["", "a/", "a/b/", "c/", "c/d/e/"])}f${rnd.int(12)}`;
      const what = rnd.int(10);
      if (what === 0) lines.push(`D ${path}`);
      else if (what === 1) lines.push(`D ${rnd.pick(["a", "c/d"])}`);
      else {
        const text = `${rnd.int(400)}\n`.repeat(1 + rnd.int(30));
        lines.push(`M ${rnd.pick(["100644", "100755", "120000"])} inline ${path}`, `data ${text.length}`, text);
      }
    }
    tips.set(branch, mark);
    commits.push(mark);
    return `${lines.join("\n")}\n\n`;
  };
  return {
    grow(count) {
      let stream = "";
      for (let i = 0; i < count; i++) stream += commitStream();
      if (rnd.int(2) === 0 && commits.length > 0) {
        stream += `tag t${++tags}\nfrom ${rnd.pick(commits)}\ntagger T <t@u> ${clock} +0000\ndata 2\nt\n\n`;
      }
      const marksFile = `${dir}/fast-import-marks`;
      gitInput(
        dir,
        stream,
        "fast-import",
        "--quiet",
        "--force",
        `--export-marks=${marksFile}`,
        `--import-marks-if-exists=${marksFile}`,
      );
      if (rnd.int(3) === 0) git(dir, "repack", "-q", ...rnd.pick([["-d"], ["-a", "-d"], ["-a", "-d", "-f"]]));
    },
  };
}
