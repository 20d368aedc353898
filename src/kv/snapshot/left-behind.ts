/** What a format has no place for and an export leaves behind: it is counted, and said at the end. */

import { detectMediaType } from "../media-type.ts";
import type { ExportedKey } from "./exported.ts";

/** True for a label that a format has a place for. */
export type KeepsLabel = (name: string, value: string) => boolean;

export class LeftBehind {
  readonly #keepsLabel: KeepsLabel;
  #keys = 0;
  #times = 0;
  #labels = 0;
  #types = 0;

  constructor(keepsLabel: KeepsLabel) {
    this.#keepsLabel = keepsLabel;
  }

  add({ data, meta }: ExportedKey): void {
    const labels = Object.entries(meta.labels ?? {});
    const hasTime = meta.expires !== undefined;
    const hasLabels = labels.some(([name, value]) => !this.#keepsLabel(name, value));
    // That of a value in pieces is seldom told from the value.
    const hasType = data !== undefined && meta.ctype !== detectMediaType(data);
    if (hasTime) this.#times++;
    if (hasLabels) this.#labels++;
    if (hasType) this.#types++;
    if (hasTime || hasLabels || hasType) this.#keys++;
  }

  /** A sentence; undefined where nothing was left behind. */
  get said(): string | undefined {
    if (this.#keys === 0) return undefined;
    const counts: [what: string, keys: number][] = [
      ["expiry times", this.#times],
      ["labels", this.#labels],
      ["media types", this.#types],
    ];
    const parts = counts.filter(([, keys]) => keys > 0).map(([what, keys]) => `${what} (${keys})`);
    return `left behind of ${this.#keys} ${this.#keys === 1 ? "key" : "keys"}, as only the format jsonl has them: ${parts.join(", ")}`;
  }
}
