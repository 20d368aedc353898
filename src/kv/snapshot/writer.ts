/** What writes a snapshot in one of the formats. */

import type { ExportedKey } from "./exported.ts";

/** Takes the next text of the snapshot. */
export type WriteText = (text: string) => void;

export interface SnapshotWriter {
  begin(): void;
  /** Adds a key; keys come in byte order. Throws INPUT_INVALID where the format cannot have it. */
  add(exported: ExportedKey): void | Promise<void>;
  end(): void;
}
