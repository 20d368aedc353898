/**
 * What a server says to the person who pushes or fetches (git: gitprotocol-pack, sideband 2; stderr of ssh): text that comes in
 * pieces, put together to lines. A line that ends in CR is progress, which the next one replaces; one that ends in LF stays.
 *
 * Lines of the kinds `error:` and `hint:` wait for the end: a refusal brings the same error in its report, and its hint is ours to
 * show. So do refusals that come as lines: of a hook git's own receive-pack reports no more than that it declined.
 */

import { type Code, isCode } from "../errors.ts";
import type { Surroundings } from "./workspace.ts";

/** A refusal in one line, as a Stargate words it in its report: `<CODE>: <sentence>`. */
const CODED = /^([A-Z][A-Z_]+): (.*)$/s;

/** Reads such a line; undefined where it is none. */
export function codedRefusal(line: string): { readonly code: Code; readonly message: string } | undefined {
  const [, code, message] = CODED.exec(line) ?? [];
  return code !== undefined && isCode(code) ? { code, message: message! } : undefined;
}

/** Characters of a line that are shown. */
const MAX_LINE = 1_000;
/** Lines that wait; more are shown at once. */
const MAX_HELD = 50;

export class ServerWords {
  readonly #around: Pick<Surroundings, "progress" | "heard">;
  readonly #prefix: string;
  #pending = "";
  #held: string[] = [];

  /** `prefix` comes before each line: `remote: ` as with git. */
  constructor(around: Pick<Surroundings, "progress" | "heard">, prefix: string) {
    this.#around = around;
    this.#prefix = prefix;
  }

  /** Takes the next piece; may be handed on as a function. */
  readonly hear = (text: string): void => {
    for (const part of text.split(/(?<=[\r\n])/)) {
      const ending = part.at(-1);
      const ends = ending === "\r" || ending === "\n";
      const room = MAX_LINE - this.#pending.length;
      this.#pending += (ends ? part.slice(0, -1) : part).slice(0, room);
      if (!ends) continue;
      const line = this.#pending;
      this.#pending = "";
      if (line === "") continue;
      if (ending === "\r") this.#around.progress(this.#prefix + line);
      else this.#keep(line);
    }
  };

  /** The hints that came, as one text, undefined where none did; they and the errors are not shown here then. */
  takeHint(): string | undefined {
    this.#finishLine();
    const hints = this.#held.filter((line) => line.startsWith("hint: ")).map((line) => line.slice("hint: ".length));
    this.#held = [];
    return hints.length === 0 ? undefined : hints.join("\n");
  }

  /** The errors that came and wait. */
  errors(): readonly string[] {
    return this.#held.filter((line) => line.startsWith("error: ")).map((line) => line.slice("error: ".length));
  }

  /** The first refusal that came as a line and waits. */
  refusal(): ReturnType<typeof codedRefusal> {
    this.#finishLine();
    for (const line of this.#held) {
      const refusal = codedRefusal(line);
      if (refusal !== undefined) return refusal;
    }
    return undefined;
  }

  /** Shows what waits, and a line that was not ended. */
  end(): void {
    this.#finishLine();
    for (const line of this.#held) this.#show(line);
    this.#held = [];
  }

  #finishLine(): void {
    if (this.#pending !== "") this.hear("\n");
  }

  #keep(line: string): void {
    if ((/^(error|hint): /.test(line) || codedRefusal(line) !== undefined) && this.#held.length < MAX_HELD)
      this.#held.push(line);
    else this.#show(line);
  }

  #show(line: string): void {
    this.#around.heard?.(this.#prefix + line);
  }
}
