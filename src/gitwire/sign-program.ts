/**
 * Programs that sign, run as git runs them (git: gpg-interface.c): `ssh-keygen -Y sign` with files, `gpg` with pipes, and
 * the command of gpg.ssh.defaultKeyCommand. None goes through a shell.
 */

import * as fs from "node:fs";
import * as os from "node:os";
import * as path from "node:path";
import { KvError } from "../errors.ts";
import { LIMITS } from "../limits.ts";
import { isOpenPgpSignature } from "./object/openpgp.ts";

/** What running a program takes. */
export interface ProgramContext {
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly signal: AbortSignal;
  /** Shows a line of what the program says while it runs ("touch your key"). */
  readonly tell: (text: string) => void;
}

interface Finished {
  readonly status: number;
  readonly stdout: string;
  readonly stderr: string;
}

/**
 * Signs with `program -Y sign`, as gpg.ssh.program is called. `key` is the path of a key file, or a public key whose private
 * half the program is to find. Returns the armored signature. Throws IO with what the program said.
 */
export async function signWithSshProgram(
  context: ProgramContext,
  program: string,
  key: { readonly file: string } | { readonly literal: string },
  payload: Buffer,
): Promise<string> {
  const folder = fs.mkdtempSync(path.join(context.env.TMPDIR || os.tmpdir(), "git-kv-sign-"));
  try {
    const buffer = path.join(folder, "payload");
    fs.writeFileSync(buffer, payload, { mode: 0o600 });
    const keyFile = "file" in key ? key.file : path.join(folder, "key.pub");
    if ("literal" in key) fs.writeFileSync(keyFile, `${key.literal}\n`, { mode: 0o600 });
    const flags = "literal" in key ? ["-U"] : [];
    const args = ["-Y", "sign", "-n", "git", "-f", keyFile, ...flags, buffer];
    const { status, stderr } = await run(context, [program, ...args], undefined, (line) => {
      if (/touch|presence|confirm/i.test(line)) context.tell(line);
    });
    const signature = `${buffer}.sig`;
    if (status !== 0 || !fs.existsSync(signature)) throw failed(program, status, stderr);
    return fs.readFileSync(signature, "latin1");
  } finally {
    fs.rmSync(folder, { recursive: true, force: true });
  }
}

/** Signs with `gpg`; `key` is what -u takes. Returns the armored signature. Throws IO with what gpg said. */
export async function signWithGpg(
  context: ProgramContext,
  program: string,
  key: string,
  payload: Buffer,
): Promise<string> {
  const command = [program, "--status-fd=2", "-bsau", key];
  const { status, stdout, stderr } = await run(context, command, payload, () => {});
  const isSigned = /^\[GNUPG:\] SIG_CREATED /m.test(stderr);
  if (status !== 0 || !isSigned) throw failed(program, status, stderr.replace(/^\[GNUPG:\].*\n?/gm, ""));
  const signature = stdout.replaceAll("\r\n", "\n");
  if (isOpenPgpSignature(signature)) return signature;
  throw new KvError("IO", `what '${program}' printed is no armored OpenPGP signature`);
}

/** Whether `gpg` holds the private half of `key`. False where there is no gpg. */
export async function gpgHolds(context: ProgramContext, program: string, key: string): Promise<boolean> {
  try {
    const { status } = await run(context, [program, "--batch", "--list-secret-keys", key], undefined, () => {});
    return status === 0;
  } catch (error) {
    context.signal.throwIfAborted();
    if (error instanceof KvError) return false;
    throw error;
  }
}

/** The first line that `command` (words as a shell has them) prints. Throws CONFIG where it fails. */
export async function firstLineOf(context: ProgramContext, command: string, setting: string): Promise<string> {
  const words = splitCommand(command);
  if (words === undefined || words.length === 0) throw new KvError("CONFIG", `${setting} is no command: '${command}'`);
  const { status, stdout, stderr } = await run(context, words, undefined, () => {});
  if (status !== 0) {
    throw new KvError("CONFIG", `${setting}: '${command}' exited with ${status}${lastWords(stderr)}`);
  }
  return stdout.split("\n", 1)[0]!.trim();
}

/** Words of a command (git: alias.c `split_cmdline`); undefined where a quote is never closed. */
export function splitCommand(command: string): string[] | undefined {
  const words: string[] = [];
  const WORD = /\s*((?:[^\s'"\\]|\\.|'[^']*'|"(?:[^"\\]|\\.)*")+)\s*/suy;
  let at = 0;
  for (const text = command.trim(); at < text.length; at = WORD.lastIndex) {
    WORD.lastIndex = at;
    const word = WORD.exec(text)?.[1];
    if (word === undefined) return undefined;
    words.push(
      word.replace(/'([^']*)'|"((?:[^"\\]|\\.)*)"|\\(.)/gsu, (_, single, double, escaped) => {
        return single ?? double?.replace(/\\(.)/gsu, "$1") ?? escaped;
      }),
    );
  }
  return words;
}

function failed(program: string, status: number, stderr: string): KvError {
  return new KvError("IO", `'${program}' did not sign (it exited with ${status})${lastWords(stderr)}`, {
    hint: `does '${path.basename(program)}' sign when it is run by hand?`,
  });
}

/** The last line a program said, as the end of a sentence. */
function lastWords(stderr: string): string {
  const line = stderr.trim().split("\n").at(-1)!.trim();
  return line === "" ? "" : `: ${line.replace(/[^\x20-\x7e]+/g, " ").slice(0, 300)}`;
}

async function run(
  { env, signal }: ProgramContext,
  command: readonly string[],
  input: Buffer | undefined,
  heard: (line: string) => void,
): Promise<Finished> {
  signal.throwIfAborted();
  const child = start(command, env, input);
  const stop = (): void => child.kill();
  signal.addEventListener("abort", stop, { once: true });
  try {
    const [stdout, stderr, status] = await Promise.all([
      textOf(child.stdout, () => {}),
      textOf(child.stderr, heard),
      child.exited,
    ]);
    signal.throwIfAborted();
    return { status, stdout, stderr };
  } finally {
    signal.removeEventListener("abort", stop);
  }
}

function start(command: readonly string[], env: ProgramContext["env"], input: Buffer | undefined) {
  try {
    const stdin = input ?? "ignore";
    return Bun.spawn(command as string[], { stdin, stdout: "pipe", stderr: "pipe", env: { ...env } });
  } catch (cause) {
    throw new KvError("IO", `cannot run '${command[0]}' to sign with`, {
      cause,
      hint: "install it, or name it in gpg.program or gpg.ssh.program",
    });
  }
}

async function textOf(stream: ReadableStream<Uint8Array>, heard: (line: string) => void): Promise<string> {
  const decoder = new TextDecoder();
  let text = "";
  for await (const bytes of stream) {
    const more = decoder.decode(bytes, { stream: true });
    for (const line of more.split("\n")) if (line.trim() !== "") heard(line.trim());
    if (text.length < LIMITS.programOutput) text += more;
  }
  return text;
}
