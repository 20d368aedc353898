/**
 * The only file that writes to stdout and stderr. stdout carries the answer and nothing else; everything for people goes
 * to stderr, hints and progress only where it is a terminal.
 */

import { KvError, toKvError } from "../errors.ts";
import { isTerminal, writeFully } from "../fd.ts";

/** How much of the answer is gathered before it is written: one write(2) a line makes a long list slow. */
const GATHER = 64 * 1024;

/** Milliseconds from the start of the program in which no progress is shown, and between two lines of it. */
const SILENT = 500;
const PAUSE = 100;

/** The reader of stdout is gone. Not an error: the program ends as git does, silently and as if by SIGPIPE. */
export class OutputClosed extends Error {
  static readonly exit = 141;
}

export interface OutputOptions {
  readonly json: boolean;
  readonly quiet: boolean;
  readonly debug: boolean;
  readonly noColor: boolean;
  readonly env: Readonly<Record<string, string | undefined>>;
  /** Descriptors, 1 and 2 by default. */
  readonly stdout?: number;
  readonly stderr?: number;
}

export class Output {
  /** Answers are JSON, one object a line. */
  readonly json: boolean;
  readonly quiet: boolean;
  readonly debug: boolean;
  readonly answersTerminal: boolean;
  readonly notesTerminal: boolean;
  /** Whether stderr takes colours. */
  readonly color: boolean;
  readonly #stdout: number;
  readonly #stderr: number;
  #gathered: Buffer[] = [];
  /** What follows that: lines become bytes together, which takes a third of the time of each by itself. */
  #text = "";
  /** Of both, text by its length, which is near enough. */
  #size = 0;
  /** The terminal knows no escapes. */
  readonly #isDumb: boolean;
  /** Columns of the progress line that stands on the terminal now. */
  #progress = 0;
  /** When the next one may be shown, in milliseconds since the program began. */
  #nextProgress = SILENT;
  #lastWarning: string | undefined;

  constructor(options: OutputOptions) {
    this.json = options.json;
    this.quiet = options.quiet;
    this.debug = options.debug;
    this.#stdout = options.stdout ?? 1;
    this.#stderr = options.stderr ?? 2;
    this.answersTerminal = isTerminal(this.#stdout);
    this.notesTerminal = isTerminal(this.#stderr);
    this.#isDumb = options.env.TERM === "dumb";
    const plain = options.noColor || (options.env.NO_COLOR ?? "") !== "" || this.#isDumb;
    this.color = this.notesTerminal && !plain;
  }

  /**
   * Bytes or text of the answer, exactly as they are. Gathered; written at 64 KiB, at {@link flush} and at the end.
   * The bytes must not change until then.
   *
   * @throws OutputClosed
   */
  answer(data: Uint8Array | string): void {
    if (typeof data === "string") this.#text += data;
    else this.#gather(Buffer.from(data.buffer, data.byteOffset, data.byteLength));
    this.#size += data.length;
    if (this.#size >= GATHER) this.flush();
  }

  /** One line of the answer. */
  line(text: string): void {
    this.answer(`${text}\n`);
  }

  /** Text of somebody else's as a line of the answer has it: as it is, but on a terminal with its control characters shown. */
  foreign(text: string): string {
    return this.answersTerminal ? printable(text) : text;
  }

  /** One object of the answer as a line of JSON. */
  record(value: object): void {
    this.answer(`${JSON.stringify(value)}\n`);
  }

  /** Writes what is gathered: after each event of a stream that someone follows. */
  flush(): void {
    if (this.#size === 0) return;
    this.#gather();
    const bytes = this.#gathered.length === 1 ? this.#gathered[0]! : Buffer.concat(this.#gathered);
    this.#gathered = [];
    this.#size = 0;
    this.#clearProgress();
    try {
      writeFully(this.#stdout, bytes);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === "EPIPE") throw new OutputClosed();
      const { code, message } = toKvError(error);
      throw new KvError(code, `cannot write the answer: ${message}`, { cause: error });
    }
  }

  /** Puts the text there is, and then `bytes`, to what is to be written. */
  #gather(bytes?: Buffer): void {
    if (this.#text !== "") this.#gathered.push(Buffer.from(this.#text, "utf8"));
    this.#text = "";
    if (bytes !== undefined) this.#gathered.push(bytes);
  }

  /** Tells what was done, on stderr, unless --quiet. */
  note(text: string): void {
    if (!this.quiet) this.#say(`${text}\n`);
  }

  /** A way out or a next step, on stderr, where a person reads it. */
  hint(text: string): void {
    if (!this.quiet && this.notesTerminal) this.#say(`${this.#paint("hint:", 33)} ${text}\n`);
  }

  /** A line that a server or ssh said, where a person reads it. */
  heard(line: string): void {
    if (!this.quiet && this.notesTerminal) this.#say(`${printable(line).replace(/\t/g, " ")}\n`);
  }

  /** Something that may be wrong though the work goes on. Said once where it is found again and again: in a wait, while following. */
  warn(text: string): void {
    if (this.quiet || text === this.#lastWarning) return;
    this.#lastWarning = text;
    this.#say(`${this.#paint("warning:", 33)} ${text}\n`);
  }

  /** For --debug. */
  detail(text: string): void {
    if (this.debug) this.#say(`${this.#paint("debug:", 90)} ${text}\n`);
  }

  /**
   * Replaces the progress line, on a terminal, where the program has run for half a second and the line before was there for a
   * tenth of one; "" takes it away.
   */
  progress(text: string): void {
    if (this.quiet || !this.notesTerminal) return;
    const now = performance.now();
    if (text !== "" && now < this.#nextProgress) return;
    this.#clearProgress();
    if (text === "") return;
    this.#nextProgress = now + PAUSE;
    // A line longer than the terminal would wrap, and could not be taken back.
    const shown = text.replace(/[\x00-\x1f\x7f-\x9f]/g, " ").slice(0, Math.max(1, (process.stderr.columns || 80) - 1));
    this.#writeError(shown);
    this.#progress = shown.length;
  }

  /**
   * Reports the error that ends the program: a JSON object on stdout with --json, else `error:` and `hint:` on stderr; there too what
   * stdout does not take.
   *
   * @throws OutputClosed
   */
  fail(error: KvError): void {
    if (!this.json || !this.#failInJson(error)) {
      const hint = error.hint === undefined ? "" : `${this.#paint("hint:", 33)} ${printable(error.hint)}\n`;
      this.#say(`${this.#paint("error:", 31)} ${printable(error.message)}\n${hint}`);
    }
    if (this.debug) this.#say(`${stackOf(error)}\n`);
  }

  #failInJson({ code, exit, message, hint }: KvError): boolean {
    try {
      this.record({ error: { code, exit, message, ...(hint === undefined ? {} : { hint }) } });
      this.flush();
      return true;
    } catch (second) {
      if (second instanceof OutputClosed) throw second;
      return false;
    }
  }

  #say(text: string): void {
    // What was answered before comes before it, also where both go to one terminal.
    this.flush();
    this.#clearProgress();
    this.#writeError(text);
  }

  #clearProgress(): void {
    if (this.#progress === 0) return;
    // A terminal that knows no escapes is given spaces, as by git.
    const clear = this.#isDumb ? `\r${" ".repeat(this.#progress)}\r` : "\r\x1b[K";
    this.#progress = 0;
    this.#writeError(clear);
  }

  #paint(text: string, color: number): string {
    return this.color ? `\x1b[1;${color}m${text}\x1b[0m` : text;
  }

  #writeError(text: string): void {
    try {
      writeFully(this.#stderr, Buffer.from(text, "utf8"));
    } catch {
      // Nobody reads stderr, or its disk is full: there is nowhere left to say so, and the work itself may be fine.
    }
  }
}

/** Controls, and the marks that turn the order of what is read around, so that a key could look like another. */
const UNPRINTABLE = /[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]/g;

/** Control characters of foreign text made visible, so that a peer's message cannot drive the terminal. */
export function printable(text: string): string {
  return text.replace(UNPRINTABLE, (c) => {
    const code = c.charCodeAt(0).toString(16);
    return code.length > 2 ? `\\u${code.padStart(4, "0")}` : `\\x${code.padStart(2, "0")}`;
  });
}

/** The stack of an error and of its causes. */
function stackOf(error: Error): string {
  const stacks: string[] = [];
  for (let each: unknown = error; each instanceof Error && stacks.length < 10; each = each.cause) {
    stacks.push(each.stack ?? each.message);
  }
  return stacks.join("\ncaused by: ");
}
