/**
 * Git over ssh: the user's own ssh runs `git-receive-pack '<path>'` on the other machine (git: gitprotocol-pack "SSH Transport",
 * git-config `core.sshCommand` and `ssh.variant`; connect.c `fill_ssh_args`).
 */

import * as path from "node:path";
import { KvError } from "../../errors.ts";
import type { GitConfig } from "../config.ts";
import type { Service } from "../protocol/ref-advertisement.ts";
import type { ConnectOptions } from "./connect-options.ts";
import { type Environment, shellCommand, shellQuote, withoutRepository } from "./environment.ts";
import { startProcess } from "./process-connection.ts";
import { StreamTransport } from "./stream-transport.ts";
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
  const env = { ...withoutRepository(options.env), ...variables };
  const connection = startProcess({ ...options, command, env, shownUrl, hints: HINTS });
  return new StreamTransport(shownUrl, service, connection);
}

const HINTS = {
  notStarted: "install ssh, or name another program in core.sshCommand",
  silent: "check that the host can be reached, that your key may log in and that the repository exists",
};

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
  const protocol = version > 0 ? { GIT_PROTOCOL: `version=${version}` } : {};
  let variant = sshVariant(program, configured !== undefined, config, env);
  if (variant === "auto") {
    const probe = run(["-G", ...sshOptions("ssh", url, version), url.destination]);
    variant = (await succeeds(probe, { ...withoutRepository(env), ...protocol })) ? "ssh" : "simple";
  }
  const remote = `${options.program ?? service} ${shellQuote(url.path)}`;
  return {
    command: run([...sshOptions(variant, url, version), url.destination, remote]),
    variables: variant === "ssh" ? protocol : {},
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
