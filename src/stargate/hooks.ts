/**
 * The hooks of a Stargate's repository. They stand where a push would not come through the Stargate: a stock `git receive-pack`
 * on the same folder (a push by path, or another daemon). A hook whose program is missing fails, and the push with it.
 */

import * as fs from "node:fs";
import * as path from "node:path";
import { KvError } from "../errors.ts";
import { readFileIfThere } from "../gitwire/disk.ts";
import { classifyRef } from "../kv/namespace.ts";

/** The hooks that are installed. */
export const HOOKS = ["pre-receive", "update"] as const;
export type Hook = (typeof HOOKS)[number];

const MARK = "# Installed by git-kv-stargate; 'git-kv-stargate init' writes it again.";

/** Installs the hooks in `gitDir`; `program` is the command line of this program. Throws CONFIG where another hook is there. */
export function installHooks(gitDir: string, program: readonly string[]): void {
  const folder = path.join(gitDir, "hooks");
  fs.mkdirSync(folder, { recursive: true });
  for (const hook of HOOKS) {
    const file = path.join(folder, hook);
    const there = readFileIfThere(file)?.toString("utf8");
    if (there !== undefined && !there.includes(MARK)) {
      throw new KvError("CONFIG", `${file} is there already and is not ours`, {
        hint: "move it away and run init again",
      });
    }
    const temp = `${file}.${process.pid}`;
    fs.writeFileSync(temp, `#!/bin/sh\n${MARK}\nexec ${program.map(shellQuote).join(" ")} hook ${hook} "$@"\n`, {
      mode: 0o755,
    });
    fs.renameSync(temp, file);
  }
}

/** The command line that runs this program again: the executable, and the script where it is run from source. */
export function ownProgram(): string[] {
  const script = process.argv[1];
  const isCompiled = script === undefined || script.startsWith("/$bunfs/") || script.includes("B:/~BUN/");
  return isCompiled ? [process.execPath] : [process.execPath, script];
}

/** Refs among `refs` that only the Stargate may move. */
export function guardedRefs(refs: readonly string[]): string[] {
  return refs.filter((ref) => classifyRef(ref) !== undefined);
}

/** Names of refs in the input of a pre-receive hook: `<old> <new> <ref>` lines. */
export function refsOfPreReceive(input: string): string[] {
  return input.split("\n").flatMap((line) => {
    const ref = line.split(" ").slice(2).join(" ");
    return ref === "" ? [] : [ref];
  });
}

/** Throws REF_FORBIDDEN where one of `refs` is the Stargate's. */
export function refuseGuarded(refs: readonly string[]): void {
  const [first] = guardedRefs(refs);
  if (first === undefined) return;
  throw new KvError("REF_FORBIDDEN", `${first} can only be pushed through the Stargate`, {
    hint: "push to the Stargate's address (stargate.push_url of the policy), not to the repository's folder",
  });
}

function shellQuote(text: string): string {
  return `'${text.replaceAll("'", "'\\''")}'`;
}
