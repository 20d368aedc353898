/** What an import reads, whatever the format it comes in: one item for each key, in the order of the input. */

import { KvError } from "../../errors.ts";
import type { SetOptions, ValueInput } from "../batch.ts";
import type { Key } from "../key.ts";

/** A key with its value. */
export interface ImportEntry {
  readonly kind: "entry";
  /** Where it stands, for messages: `line 12`, `line 1, entry 7`, or a file's name. */
  readonly place: string;
  readonly key: Key;
  /** A stream is read to its end before the next item is asked for. */
  readonly value: ValueInput;
  readonly options: SetOptions;
  /** What the input says of the value, to be checked. */
  readonly etag?: string | undefined;
  readonly size?: number | undefined;
}

/** Something that cannot be used; what comes after it still can. */
export interface BadItem {
  readonly kind: "bad";
  readonly place: string;
  readonly message: string;
  /** A way out. */
  readonly hint?: string | undefined;
}

export type ImportItem = ImportEntry | BadItem;

/** Items, many at a time: a million of them one by one would take a second more. An entry with a stream comes last of its array. */
export type ImportItems = AsyncGenerator<readonly ImportItem[], void, undefined>;

/** What reading depends on. */
export interface ImportContext {
  /** Unix seconds: times to live begin now. */
  readonly now: number;
  /** What goes before each key. */
  readonly prefix: string;
  /** What joins the names on the way to a value that lies deeper in a document. */
  readonly separator: string;
  /** Nobody named the format: it is what the file's name suggests. */
  readonly isGuess?: boolean;
  /** Is told, at the end, what the input has or lacks that somebody should know. */
  readonly warn?: (text: string) => void;
}

/** Nothing but the value is said. */
export const NO_OPTIONS: SetOptions = { ctype: undefined, expires: undefined, labels: undefined };

/** What `make` returns, or what is wrong with the input it was made from. */
export function itemAt(place: string, make: () => ImportEntry): ImportItem {
  try {
    return make();
  } catch (error) {
    if (!(error instanceof KvError)) throw error;
    return { kind: "bad", place, message: error.message };
  }
}

export const badInput = (message: string, hint?: string): KvError =>
  new KvError("INPUT_INVALID", message, hint === undefined ? {} : { hint });
