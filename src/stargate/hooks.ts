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

const HOOKS_PATH = "core.hooksPath";
const REFS_OF_PROC_RECEIVE = "receive.procReceiveRefs";

/**
 * What stock git must be told so that the hooks decide: every ref goes to proc-receive, objects are checked as ours are, and
 * come as a pack, which git brings to disk.
 */
const SETTINGS: readonly (readonly [name: string, value: string])[] = [
  [REFS_OF_PROC_RECEIVE, "refs"],
  ["receive.fsckObjects", "true"],
  ["receive.unpackLimit", "1"],
  ["receive.advertisePushOptions", "true"],
];

const MARK = "# Installed by git-kv-stargate; 'git-kv-stargate init' writes it again.";

/** Text of a hook; `program` is the command line of this program. */
function hookText(hook: Hook, program: readonly string[]): string {
  return `#!/bin/sh\n${MARK}\nexec ${program.map(shellQuote).join(" ")} hook ${hook} "$@"\n`;
}

type HooksConfig = Pick<GitConfig, "get" | "getAll">;

export interface InstallOptions {
  /** What git goes by in this repository; looked at for hooks elsewhere. */
  readonly config?: HooksConfig;
  /** Move hooks of somebody else away, and have git look for hooks in the repository, instead of refusing. */
  readonly replace?: boolean;
}

/**
 * Installs the hooks in `gitDir`, or puts right what is not as it should be; `program` is the command line of this program. Throws
 * CONFIG, and changes nothing, where somebody else's hooks are in the way and are not to be replaced.
 */
export function installHooks(gitDir: string, program: readonly string[], options: InstallOptions = {}): void {
  const { config, replace = false } = options;
  const folder = path.join(gitDir, "hooks");
  const foreign = HOOKS.filter((hook) => isForeign(path.join(folder, hook), hookText(hook, program)));
  const elsewhere = config && hooksElsewhere(gitDir, config);
  if (!replace) refuseForeign(gitDir, foreign, elsewhere);
  fs.mkdirSync(folder, { recursive: true });
  for (const hook of foreign) fs.renameSync(path.join(folder, hook), unusedName(path.join(folder, `${hook}.replaced`)));
  for (const hook of HOOKS) {
    const file = path.join(folder, hook);
    const text = hookText(hook, program);
    const temp = `${file}.${process.pid}`;
    fs.writeFileSync(temp, text, { mode: 0o755 });
    fs.chmodSync(temp, 0o755);
    fs.renameSync(temp, file);
  }
  systemDisk.syncDir(folder);
  const own = path.join(gitDir, "config");
  for (const [name, value] of SETTINGS) replaceConfig(own, name, value);
  // Relative: to where a push runs its hooks, which is the repository.
  if (elsewhere !== undefined) replaceConfig(own, HOOKS_PATH, "hooks");
}

function refuseForeign(gitDir: string, foreign: readonly Hook[], elsewhere: string | undefined): void {
  const facts = foreign.map((hook) => `${path.join(gitDir, "hooks", hook)} is not ours`);
  if (elsewhere !== undefined) facts.push(elsewhere);
  if (facts.length === 0) return;
  throw new KvError("CONFIG", facts.join("; "), {
    hint: "git-kv-stargate init --replace-hooks keeps such a hook as NAME.replaced, and has git take the hooks of the repository",
  });
}

/** Whether the hook at `file` is somebody else's. What a full disk left of `text` is ours too. */
function isForeign(file: string, text: string): boolean {
  const there = readFileIfThere(file)?.toString("utf8");
  return there !== undefined && !there.includes(MARK) && !text.startsWith(there);
}

function unusedName(file: string): string {
  let name = file;
  for (let i = 2; fs.existsSync(name); i++) name = `${file}.${i}`;
  return name;
}

/** What is said where git is told to look for hooks somewhere else. */
function hooksElsewhere(gitDir: string, config: HooksConfig): string | undefined {
  const elsewhere = config.get(HOOKS_PATH);
  if (elsewhere === undefined || path.resolve(gitDir, elsewhere) === path.join(gitDir, "hooks")) return undefined;
  return `${HOOKS_PATH} is ${elsewhere}, where git looks for hooks instead`;
}

/** What is wrong with the hooks of the repository at `gitDir`; nothing where a stock push is guarded. */
export function hookFaults(gitDir: string, config: HooksConfig): string[] {
  const faults: string[] = [];
  for (const hook of HOOKS) {
    const fault = hookFault(path.join(gitDir, "hooks", hook), hook);
    if (fault !== undefined) faults.push(`hooks/${hook} ${fault}`);
  }
  const elsewhere = hooksElsewhere(gitDir, config);
  if (elsewhere !== undefined) faults.push(elsewhere);
  for (const [name, value] of SETTINGS) {
    // The last one counts, ours where init has written it; of the refs for proc-receive all do, and ours are all refs.
    const values = config.getAll(name);
    const counts = name === REFS_OF_PROC_RECEIVE ? values.includes(value) : values.at(-1) === value;
    if (!counts) faults.push(`${name} is ${values.join(", ") || "not set"}, not ${value}`);
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
