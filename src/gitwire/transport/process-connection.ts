/** A conversation with a program over its standard input and output. */

import { asBuffer } from "../../bytes.ts";
import { KvError } from "../../errors.ts";
import type { Environment } from "./environment.ts";
import type { Connection } from "./stream-transport.ts";

export interface ProcessOptions {
  readonly command: string[];
  readonly env: Environment;
  /** The address as messages may show it. */
  readonly shownUrl: string;
  readonly hints: { readonly notStarted: string; readonly silent: string };
  /** Takes what the program writes to stderr; without it that goes to our stderr. */
  readonly onMessage?: (text: string) => void;
  /** Ends the program. */
  readonly signal?: AbortSignal;
}

/** Starts the program. Throws NETWORK where that fails. */
export function startProcess(options: ProcessOptions): Connection {
  const { shownUrl, onMessage, signal } = options;
  const child = spawn(options);
  const stop = (): void => child.kill();
  signal?.addEventListener("abort", stop, { once: true });
  const words = onMessage === undefined ? undefined : readWords(child.stderr as ReadableStream<Uint8Array>, onMessage);
  const input = (child.stdout as ReadableStream<Uint8Array>).getReader();
  return {
    input: {
      read: async () => {
        const { done, value } = await input.read();
        return done ? undefined : asBuffer(value);
      },
    },
    output: {
      write: async (bytes) => {
        try {
          await child.stdin.write(bytes);
          await child.stdin.flush();
        } catch (cause) {
          throw new KvError("NETWORK", `the connection to ${shownUrl} broke`, { cause });
        }
      },
    },
    explainSilence: async () => {
      // It may have closed its output and live on, waiting for more input.
      child.kill();
      return silence(options, await child.exited, await words);
    },
    close: async (inOrder) => {
      signal?.removeEventListener("abort", stop);
      await Promise.resolve(child.stdin.end()).catch(() => {});
      if (!inOrder) child.kill();
      await input.cancel().catch(() => {});
      child.unref();
    },
  };
}

function spawn({ command, env, onMessage, hints }: ProcessOptions) {
  try {
    // lazy: bytes are read when they are asked for, else a server faster than us would fill our memory.
    const stderr = onMessage === undefined ? "inherit" : "pipe";
    return Bun.spawn(command, { stdin: "pipe", stdout: "pipe", stderr, env, lazy: true });
  } catch (cause) {
    throw new KvError("NETWORK", `cannot run '${command[0]}'`, { cause, hint: hints.notStarted });
  }
}

/** Hands on what the program says as it comes; the last of it is kept for an error message. */
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

function silence({ shownUrl, command, hints }: ProcessOptions, status: number, words: string | undefined): KvError {
  // A hint of a program like ours comes after what it is about.
  const line = words?.split("\n").findLast((text) => text.trim() !== "" && !text.startsWith("hint: "));
  const said = line === undefined ? "" : `: ${line.trim()}`;
  return new KvError("NETWORK", `cannot read from ${shownUrl} ('${command[0]}' exited with ${status})${said}`, {
    hint: hints.silent,
    data: { status },
  });
}
