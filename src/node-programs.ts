/**
 * Programs and the SSH agent's socket for the library in Node.js: as much of Bun's `spawn` and `connect` as is asked for here, made of
 * Node.js' own modules.
 */

import { type ChildProcess, type StdioOptions, spawn as start } from "node:child_process";
import * as net from "node:net";
import { constants } from "node:os";
import { Readable, type Writable } from "node:stream";

type Input = "pipe" | "ignore" | "inherit" | Uint8Array;
type Output = "pipe" | "ignore" | "inherit";

export interface SpawnOptions {
  readonly stdin?: Input;
  readonly stdout?: Output;
  readonly stderr?: Output;
  readonly env?: Readonly<Record<string, string | undefined>>;
  readonly cwd?: string;
}

/** Starts a program. Throws the system's error where there is none of that name. */
export function spawn(command: readonly string[], options: SpawnOptions): object {
  const { stdin = "ignore", stdout = "pipe", stderr = "inherit", env, cwd } = options;
  const given = typeof stdin === "string" ? undefined : stdin;
  const stdio: StdioOptions = [given === undefined ? (stdin as Output) : "pipe", stdout, stderr];
  const child = start(command[0]!, command.slice(1), { stdio, env: env as NodeJS.ProcessEnv, cwd });
  // Told later as an event, which would end the process where nobody hears it.
  child.on("error", () => {});
  if (child.pid === undefined) throw Object.assign(new Error(`cannot run '${command[0]}'`), { code: "ENOENT" });
  const input = child.stdin === null ? undefined : inputOf(child.stdin);
  if (given !== undefined) void input?.write(given).then(input.end, input.end);
  return {
    stdin: input,
    stdout: child.stdout && Readable.toWeb(child.stdout),
    stderr: child.stderr && Readable.toWeb(child.stderr),
    exited: statusOf(child),
    kill: () => child.kill(),
    unref: () => child.unref(),
  };
}

function inputOf(stream: Writable) {
  // A program need not read what it is given.
  stream.on("error", () => {});
  return {
    write: (bytes: Uint8Array): Promise<void> => {
      return new Promise((resolve, reject) => {
        stream.write(bytes, (error) => (error ? reject(error) : resolve()));
      });
    },
    flush: (): void => {},
    end: (): void => void stream.end(),
  };
}

/** As a shell has it: 128 and the number of the signal that ended it. */
function statusOf(child: ChildProcess): Promise<number> {
  return new Promise((resolve) => {
    child.once("exit", (code, signal) => resolve(code ?? 128 + constants.signals[signal!]));
  });
}

interface Talk {
  data(socket: object, bytes: Uint8Array): void;
  close(): void;
  error(socket: object, error: Error): void;
}

/** Connects to the socket at the path `unix`. Rejects with the system's error. */
export function connect({ unix, socket: talk }: { readonly unix: string; readonly socket: Talk }): Promise<object> {
  return new Promise((resolve, reject) => {
    const socket = net.connect({ path: unix });
    const ours = {
      write: (bytes: Uint8Array): number => {
        socket.write(bytes);
        return bytes.length;
      },
      end: (): void => void socket.end(),
    };
    socket.once("error", reject);
    socket.once("connect", () => {
      socket.on("data", (bytes: Buffer) => talk.data(ours, bytes));
      socket.on("error", (error) => talk.error(ours, error));
      socket.on("close", () => talk.close());
      resolve(ours);
    });
  });
}
