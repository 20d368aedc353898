/**
 * Git over ssh: the user's own ssh runs `git-receive-pack '<path>'` on the other machine (git: gitprotocol-pack "SSH Transport",
 * git-config `core.sshCommand` and `ssh.variant`; connect.c `fill_ssh_args`).
 */

import * as path from "node:path";
import { asBuffer } from "../../bytes.ts";
import { KvError } from "../../errors.ts";
import type { GitConfig } from "../config.ts";
import type { Service } from "../protocol/ref-advertisement.ts";
import type { ConnectOptions } from "./connect-options.ts";
import { type Environment, shellCommand, shellQuote, withoutRepository } from "./environment.ts";
import { type Connection, StreamTransport } from "./stream-transport.ts";
import type { SshUrl } from "./url.ts";

type Variant = "auto" | "ssh" | "simple" | "plink" | "putty" | "tortoiseplink";

/** Starts ssh. Throws NETWORK where it cannot be started; that the host does not answer shows when the greeting is read. */
export async function connectSsh(
  url: SshUrl,
  shownUrl: string,
  service: Service,
  options: ConnectOptions,
): Promise<StreamTransport> {
  const { command, variables } = await sshCommand(url, service, options);
  const capture = options.onMessage !== undefined;
  const child = spawnSsh(command, { ...withoutRepository(options.env), ...variables }, capture);
  const stop = (): void => child.kill();
  options.signal?.addEventListener("abort", stop, { once: true });
  const words = capture ? readWords(child.stderr as ReadableStream<Uint8Array>, options.onMessage!) : undefined;
  const input = (child.stdout as ReadableStream<Uint8Array>).getReader();
  const connection: Connection = {
    input: {
      read: async () => {
        const { done, value } = await input.read();
        return done ? undefined : asBuffer(value);
      },
    },
    output: {
      write: async (bytes) => {
        try {
          child.stdin.write(bytes);
          await child.stdin.flush();
        } catch (cause) {
          throw new KvError("NETWORK", `the connection to ${shownUrl} broke`, { cause });
        }
      },
    },
    explainSilence: async () => {
      const status = await child.exited;
      return silence(shownUrl, status, await words);
    },
    close: async (inOrder) => {
      options.signal?.removeEventListener("abort", stop);
      await Promise.resolve(child.stdin.end()).catch(() => {});
      if (!inOrder) child.kill();
      await input.cancel().catch(() => {});
      child.unref();
    },
  };
  return new StreamTransport(shownUrl, service, connection);
}

function spawnSsh(command: string[], env: Environment, capture: boolean) {
  try {
    // lazy: bytes are read when they are asked for, else a server faster than us would fill our memory.
    return Bun.spawn(command, { stdin: "pipe", stdout: "pipe", stderr: capture ? "pipe" : "inherit", env, lazy: true });
  } catch (cause) {
    throw new KvError("NETWORK", `cannot run '${command[0]}'`, {
      cause,
      hint: "install ssh, or name another program in core.sshCommand",
    });
  }
}

/** What ssh and the server's git say on stderr, handed on as it comes; the last of it is kept for an error message. */
async function readWords(stream: ReadableStream<Uint8Array>, onMessage: (text: string) => void): Promise<string> {
  const decoder = new TextDecoder();
  let last = "";
  for await (const chunk of stream) {
    const text = decoder.decode(chunk, { stream: true });
    onMessage(text);
    last = (last + text).slice(-2_000);
  }
  return last.trim();
}

function silence(shownUrl: string, status: number, words: string | undefined): KvError {
  const said = words === undefined || words === "" ? "" : `: ${words.split("\n").at(-1)!.trim()}`;
  return new KvError("NETWORK", `cannot read from ${shownUrl} (ssh exited with ${status})${said}`, {
    hint: "check that the host can be reached, that your key may log in and that the repository exists",
    data: { status },
  });
}

/** The command line, and what it needs in its environment. */
export async function sshCommand(
  url: SshUrl,
  service: Service,
  options: Pick<ConnectOptions, "config" | "env" | "program" | "version">,
): Promise<{ readonly command: string[]; readonly variables: Readonly<Record<string, string>> }> {
  const { config, env } = options;
  const configured = env.GIT_SSH_COMMAND ?? config.get("core.sshcommand");
  const program = configured ?? env.GIT_SSH ?? "ssh";
  const run = (args: string[]): string[] =>
    configured === undefined ? [program, ...args] : shellCommand(configured, args);
  const version = options.version ?? 0;
  let variant = sshVariant(program, configured !== undefined, config, env);
  if (variant === "auto") {
    const probe = run(["-G", ...sshOptions("ssh", url, version), url.destination]);
    variant = (await succeeds(probe, withoutRepository(env))) ? "ssh" : "simple";
  }
  const remote = `${options.program ?? service} ${shellQuote(url.path)}`;
  return {
    command: run([...sshOptions(variant, url, version), url.destination, remote]),
    variables: variant === "ssh" && version > 0 ? { GIT_PROTOCOL: `version=${version}` } : {},
  };
}

/** Which options the program takes: told by GIT_SSH_VARIANT or ssh.variant, else by its name. */
function sshVariant(program: string, isCommand: boolean, config: GitConfig, env: Environment): Variant {
  const told = (env.GIT_SSH_VARIANT ?? config.get("ssh.variant"))?.toLowerCase();
  if (told !== undefined && told !== "auto") {
    return told === "plink" || told === "putty" || told === "tortoiseplink" || told === "simple" ? told : "ssh";
  }
  const first = isCommand ? firstWord(program) : program;
  const name = path
    .basename(first)
    .toLowerCase()
    .replace(/\.exe$/, "");
  return name === "ssh" || name === "plink" || name === "tortoiseplink" ? name : "auto";
}

/** The first word as a shell would read it, near enough: quotes and backslashes taken off. */
function firstWord(command: string): string {
  const match = /^\s*((?:"(?:[^"\\]|\\.)*"|'[^']*'|\\.|[^\s"'\\])+)/.exec(command);
  return (match?.[1] ?? "").replace(/"((?:[^"\\]|\\.)*)"|'([^']*)'|\\(.)/g, (_, double, single, escaped) =>
    double === undefined ? (single ?? escaped) : double.replace(/\\(.)/g, "$1"),
  );
}

function sshOptions(variant: Variant, url: SshUrl, version: number): string[] {
  const args: string[] = [];
  if (variant === "ssh" && version > 0) args.push("-o", "SendEnv=GIT_PROTOCOL");
  if (variant === "tortoiseplink") args.push("-batch");
  if (url.port === undefined) return args;
  if (variant === "simple") {
    throw new KvError("CONFIG", "ssh variant 'simple' does not support setting a port", {
      hint: "set ssh.variant, or give the port in the ssh configuration",
    });
  }
  return [...args, variant === "ssh" ? "-p" : "-P", url.port];
}

async function succeeds(command: string[], env: Environment): Promise<boolean> {
  try {
    return (await Bun.spawn(command, { stdin: "ignore", stdout: "ignore", stderr: "ignore", env }).exited) === 0;
  } catch {
    return false;
  }
}
