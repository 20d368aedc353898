/**
 * The hooks of a Stargate's repository (git: githooks). They stand where a push does not come through the Stargate's own doors:
 * a stock `git receive-pack` on the same folder (sshd and git-shell, a push by path). docs/design/110-stock-receive-pack.md says
 * what each one does. A hook whose program is missing fails, and the push with it.
 */

import * as fs from "node:fs";
import * as path from "node:path";
import { KvError } from "../errors.ts";
import { replaceConfig } from "../gitwire/config/config-edit.ts";
import type { GitConfig } from "../gitwire/config.ts";
import { readFileIfThere, systemDisk } from "../gitwire/disk.ts";
import { classifyRef } from "../kv/namespace.ts";

/** The hooks that are installed. */
export const HOOKS = ["pre-receive", "proc-receive", "update", "post-receive"] as const;
export type Hook = (typeof HOOKS)[number];

/**
 * What stock git must be told so that the hooks decide: every ref goes to proc-receive, objects are checked as ours are, and
 * come as a pack, which git brings to disk.
 */
const SETTINGS: readonly (readonly [name: string, value: string])[] = [
  ["receive.procReceiveRefs", "refs"],
  ["receive.fsckObjects", "true"],
  ["receive.unpackLimit", "1"],
  ["receive.advertisePushOptions", "true"],
];

const MARK = "# Installed by git-kv-stargate; 'git-kv-stargate init' writes it again.";

/** Text of a hook; `program` is the command line of this program. */
function hookText(hook: Hook, program: readonly string[]): string {
  return `#!/bin/sh\n${MARK}\nexec ${program.map(shellQuote).join(" ")} hook ${hook} "$@"\n`;
}

/**
 * Installs the hooks in `gitDir`, or puts right what is not as it should be. Throws CONFIG where another hook is there.
 */
export function installHooks(gitDir: string, program: readonly string[]): void {
  const folder = path.join(gitDir, "hooks");
  fs.mkdirSync(folder, { recursive: true });
  for (const hook of HOOKS) {
    const file = path.join(folder, hook);
    const there = readFileIfThere(file)?.toString("utf8");
    const text = hookText(hook, program);
    // What a full disk left of one is ours too.
    if (there !== undefined && !there.includes(MARK) && !text.startsWith(there)) {
      throw new KvError("CONFIG", `${file} is there already and is not ours`, {
        hint: "move it away and run init again",
      });
    }
    const temp = `${file}.${process.pid}`;
    fs.writeFileSync(temp, text, { mode: 0o755 });
    fs.chmodSync(temp, 0o755);
    fs.renameSync(temp, file);
  }
  systemDisk.syncDir(folder);
  for (const [name, value] of SETTINGS) replaceConfig(path.join(gitDir, "config"), name, value);
}

/** What is wrong with the hooks of the repository at `gitDir`; nothing where a stock push is guarded. */
export function hookFaults(gitDir: string, config: Pick<GitConfig, "get" | "getAll">): string[] {
  const faults: string[] = [];
  for (const hook of HOOKS) {
    const fault = hookFault(path.join(gitDir, "hooks", hook), hook);
    if (fault !== undefined) faults.push(`hooks/${hook} ${fault}`);
  }
  const elsewhere = config.get("core.hooksPath");
  if (elsewhere !== undefined && path.resolve(gitDir, elsewhere) !== path.join(gitDir, "hooks"))
    faults.push(`core.hooksPath is ${elsewhere}, where git looks for hooks instead`);
  for (const [name, value] of SETTINGS) {
    const values = config.getAll(name);
    if (values.length !== 1 || values[0] !== value)
      faults.push(`${name} is ${values.join(", ") || "not set"}, not ${value}`);
  }
  return faults;
}

/** The one line a hook consists of: quoted words of the program, then the hook's name. */
const COMMAND = /^exec(?: '(?:[^']|'\\'')*')+ hook (\S+) "\$@"$/;

function hookFault(file: string, hook: Hook): string | undefined {
  const stat = fs.statSync(file, { throwIfNoEntry: false });
  if (stat === undefined) return "is missing";
  if ((stat.mode & 0o111) === 0) return "is not executable";
  const [shell, mark, command, ...rest] = (readFileIfThere(file)?.toString("utf8") ?? "").split("\n");
  const isOurs =
    COMMAND.exec(command ?? "")?.[1] === hook && shell === "#!/bin/sh" && mark === MARK && rest.join("") === "";
  if (!isOurs) return "is not the one init wrote";
  const words = [...command!.matchAll(/'((?:[^']|'\\'')*)'/g)].map(([, word]) => word!.replaceAll("'\\''", "'"));
  const missing = words.find((word) => !fs.existsSync(word));
  return missing === undefined ? undefined : `runs ${missing}, which is not there`;
}

/** The command line that runs this program again: the executable, and the script where it is run from source. */
export function ownProgram(): string[] {
  const script = process.argv[1];
  const isCompiled = script === undefined || script.startsWith("/$bunfs/") || script.includes("B:/~BUN/");
  return isCompiled ? [process.execPath] : [process.execPath, script];
}

/** Throws REF_FORBIDDEN where `ref` is the Stargate's: git itself must never move it. */
export function refuseGuarded(ref: string): void {
  if (classifyRef(ref) === undefined) return;
  throw new KvError("REF_FORBIDDEN", `${ref} is moved by the Stargate, not by git`, {
    hint: "this git does not run the proc-receive hook (git 2.29 does); push to the Stargate's address (stargate.push_url)",
  });
}

function shellQuote(text: string): string {
  return `'${text.replaceAll("'", "'\\''")}'`;
}
