/** What a host says beside its report (sideband 2): the reason of a refusal is often there and nowhere else. */

/** Characters kept, and shown. */
const MOST = 2_000;

export class HostWords {
  #text = "";

  readonly hear = (text: string): void => {
    this.#text = (this.#text + text).slice(-MOST);
  };

  /** The words in one line, fit for a log and a terminal; progress of the unpacking is left out. */
  said(): string {
    return this.#text
      .split(/[\r\n]+/)
      .map((line) => line.replace(/[\x00-\x1f\x7f-\x9f]+/g, " ").trim())
      .filter((line) => line !== "" && !PROGRESS.test(line))
      .join("; ");
  }
}

const PROGRESS = /^(?:unpacking|resolving|receiving|checking|counting|compressing|updating)\b.*(?:%|done)/i;
