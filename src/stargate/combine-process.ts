/**
 * Combines packs in a process of its own, as git has `git maintenance` for that: what it takes of memory is given back when it ends, and the
 * thread that answers pushes does not wait for it (docs/design/269-roll-ups-in-a-process.md).
 *
 * It is this executable with another verb. It writes into the quarantine it is told and nowhere else, and ends when its standard input does, so
 * one that outlives its daemon, or is killed, has changed nothing. It serves one request after the other, for all repositories of the daemon, and
 * is let go when there was none for a while or when it has grown.
 */

import * as fs from "node:fs";
import { KvError, toKvError } from "../errors.ts";
import { type Combine, combineHere } from "../gitwire/store/combine.ts";
import { readLines } from "../lines.ts";
import { type CombineAnswer, type CombineRequest, type CombineSign, fromFault, LINE_BYTES } from "./combine-call.ts";
import type { Log } from "./log.ts";
import { Mutexes } from "./mutex.ts";

/** Bytes of packs from which on it is started: for less that takes longer, 40 ms, than combining them here. */
const LEAST = 512 * 1024;
/** Milliseconds it is kept without work. */
const IDLE = 10_000;
/** Bytes of memory from which on another one takes over. */
const LARGE = 96 * 1024 * 1024;
/**
 * The runtime lets its heap grow slowly from a quarter of the machine's memory on, and by as much as there is before: here, of this many bytes.
 * Combining 256,000 objects takes 120 MB then and not 160, and no more time.
 */
const RUNTIME = { BUN_JSC_forceRAMSize: String(64 * 1024 * 1024) };
/** Milliseconds until the next try where it could not be started. */
const LATER = 60_000;
/**
 * Milliseconds it may give no sign of work: it was stopped then, or hangs, and is killed. Syncing a pack of 10 GB to a slow disk takes minutes, in
 * which it says nothing.
 */
const PATIENCE = 10 * 60_000;

/** Bytes of packs from which on it is started, and milliseconds without a sign after which it is killed; for tests. */
export interface CombineBounds {
  readonly least?: number;
  readonly patience?: number;
}

export class CombineProcess {
  readonly #command: readonly string[];
  readonly #log: Log;
  readonly #least: number;
  readonly #patience: number;
  readonly #turns = new Mutexes();
  #child: Child | undefined;
  #idle: Timer | undefined;
  /** When it may be tried again to start one (performance.now). */
  #notBefore = 0;

  /** `command`: how it is started. */
  constructor(command: readonly string[], log: Log, { least = LEAST, patience = PATIENCE }: CombineBounds = {}) {
    this.#command = command;
    this.#log = log;
    this.#least = least;
    this.#patience = patience;
  }

  /**
   * Combines in that process; in this one where it cannot be started, or need not be for so little. Rejects with IO where it dies or
   * gives no sign any more, else as combineHere; what it wrote is for the caller to remove.
   */
  readonly combine: Combine = (paths, options) =>
    this.#turns.run("", async () => {
      options.signal?.throwIfAborted();
      const child = this.#current(paths);
      if (child === undefined) return combineHere(paths, options);
      clearTimeout(this.#idle);
      const { dir, format, signal } = options;
      try {
        const { pack, error, rss } = await child.ask({ dir, format: format.name, paths }, signal);
        if (rss >= LARGE) this.#release();
        if (error !== undefined) throw fromFault(error);
        if (pack === undefined) throw new KvError("BUG", "the process that combines packs answers neither way");
        return pack;
      } finally {
        this.#idle = setTimeout(() => this.#release(), IDLE);
        this.#idle.unref();
      }
    });

  /** Ends it. Nothing may be under way. */
  async close(): Promise<void> {
    clearTimeout(this.#idle);
    const child = this.#child;
    this.#release();
    await child?.kill();
  }

  /** The process, where there is one for `paths`. */
  #current(paths: readonly string[]): Child | undefined {
    if (this.#child?.isRunning === true) return this.#child;
    if (performance.now() < this.#notBefore || bytesOf(paths) < this.#least) return undefined;
    try {
      this.#child = new Child(this.#command, this.#patience);
    } catch (error) {
      this.#child = undefined;
      this.#notBefore = performance.now() + LATER;
      const { code, message } = toKvError(error);
      this.#log("warn", "upkeep", { code, message, doing: "start a process that combines packs" });
    }
    return this.#child;
  }

  #release(): void {
    this.#child?.end();
    this.#child = undefined;
  }
}

function bytesOf(paths: readonly string[]): number {
  return paths.reduce((sum, file) => sum + (fs.statSync(file, { throwIfNoEntry: false })?.size ?? 0), 0);
}

/** The executable that runs, also where its file was replaced since: a newer one may talk differently. */
function sameProgram(program: string): string {
  const running = "/proc/self/exe";
  return program === process.execPath && fs.existsSync(running) ? running : program;
}

class Child {
  readonly #process: Bun.Subprocess<"pipe", "pipe", "inherit">;
  readonly #patience: number;
  #isEnding = false;
  /** Whoever waits for the answer. */
  #waiting: PromiseWithResolvers<CombineAnswer> | undefined;
  /** Runs while somebody does, from the last sign on. */
  #silence: Timer | undefined;

  /** Throws what the system says where it cannot be started. */
  constructor(command: readonly string[], patience: number) {
    this.#patience = patience;
    const [program = "", ...args] = command;
    this.#process = Bun.spawn([sameProgram(program), ...args], {
      argv0: program,
      stdin: "pipe",
      stdout: "pipe",
      stderr: "inherit",
      env: { ...process.env, ...RUNTIME },
      // Ctrl-C on a terminal is the daemon's: it may have work under way.
      detached: true,
    });
    this.#process.unref();
    void this.#read();
  }

  get isRunning(): boolean {
    return !this.#isEnding && this.#process.exitCode === null && this.#process.signalCode === null;
  }

  /** Has one request answered. Where `signal` is aborted the process is killed, and its reason thrown when it is gone. */
  async ask(request: CombineRequest, signal: AbortSignal | undefined): Promise<CombineAnswer> {
    const waiting = Promise.withResolvers<CombineAnswer>();
    this.#waiting = waiting;
    const kill = (): void => void this.kill();
    signal?.addEventListener("abort", kill, { once: true });
    this.#listen();
    // One that is stopped does not even take the request.
    void this.#send(`${JSON.stringify(request)}\n`);
    try {
      return await waiting.promise;
    } catch (error) {
      await this.kill();
      signal?.throwIfAborted();
      throw error;
    } finally {
      clearTimeout(this.#silence);
      this.#waiting = undefined;
      signal?.removeEventListener("abort", kill);
    }
  }

  /** Gives it its time for the next sign. */
  #listen(): void {
    clearTimeout(this.#silence);
    this.#silence = setTimeout(() => {
      const message = `the process that combines packs gave no sign of work for ${this.#patience / 1_000} s and was killed`;
      this.#waiting?.reject(new KvError("IO", message));
    }, this.#patience);
  }

  /** Takes a line it wrote. */
  #hear(said: CombineAnswer | CombineSign): void {
    if (!("working" in said)) this.#waiting?.resolve(said);
    else if (this.#waiting !== undefined) this.#listen();
  }

  async #send(line: string): Promise<void> {
    try {
      await this.#process.stdin.write(line);
      await this.#process.stdin.flush();
    } catch {
      // It is dying: no answer comes.
    }
  }

  /** Takes no more requests, and ends. */
  end(): void {
    this.#isEnding = true;
    try {
      void Promise.resolve(this.#process.stdin.end()).catch(() => {});
    } catch {
      // It has ended.
    }
  }

  /** Ends it at once; what it was writing stays where it is. */
  async kill(): Promise<void> {
    this.#process.kill("SIGKILL");
    await this.#process.exited;
  }

  /** Answers whoever waits; when nothing can come any more, with an error. */
  async #read(): Promise<void> {
    let why: unknown;
    try {
      const reader = this.#process.stdout.getReader();
      const read = async (): Promise<Buffer | undefined> => {
        const { value } = await reader.read();
        return value && Buffer.from(value.buffer, value.byteOffset, value.byteLength);
      };
      await readLines(read, LINE_BYTES, (line) => this.#hear(JSON.parse(line) as CombineAnswer | CombineSign));
    } catch (error) {
      why = error;
      this.#process.kill("SIGKILL");
    }
    await this.#process.exited;
    const how = this.#process.signalCode ?? `exit status ${this.#process.exitCode}`;
    const message = `the process that combines packs ended: ${how}`;
    this.#waiting?.reject(new KvError("IO", message, { cause: why }));
  }
}
