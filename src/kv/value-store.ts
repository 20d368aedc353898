/** Turns values into blobs of a transaction. */

import * as fs from "node:fs";
import { KvError } from "../errors.ts";
import type { ObjectSink } from "../gitwire/object/object.ts";
import type { BatchLine, SetOptions, ValueInput } from "./batch.ts";
import type { EtagHasher } from "./etag.ts";
import type { Key } from "./key.ts";
import { keyText } from "./key.ts";
import { detectMediaType } from "./media-type.ts";
import type { Operation, StoredValue } from "./operation.ts";

/** How values are stored. */
export interface ValueRules {
  /** Largest inline value in bytes. */
  readonly maxInline: number;
  /** Deletions of keys that are not there are left out instead of being an error. */
  readonly ignoreMissing: boolean;
}

export class ValueStore {
  readonly #sink: ObjectSink;
  readonly #etagOf: EtagHasher;
  readonly #rules: ValueRules;

  constructor(sink: ObjectSink, etagOf: EtagHasher, rules: ValueRules) {
    this.#sink = sink;
    this.#etagOf = etagOf;
    this.#rules = rules;
  }

  /** Stores the value a line names and returns the line as an operation. Throws VALUE_TOO_LARGE, IO. */
  operation(line: BatchLine): Operation {
    const { key, condition } = line;
    if (line.op === "check") return { kind: "check", key, condition: line.condition };
    if (line.op === "del") return { kind: "del", key, ignoreMissing: this.#rules.ignoreMissing, condition };
    const { expires, labels } = line.options;
    return { kind: "set", key, value: this.#store(key, line.value, line.options), expires, labels, condition };
  }

  #store(key: Key, input: ValueInput, options: SetOptions): StoredValue {
    const data = input.kind === "bytes" ? input.data : this.#readFile(key, input.path);
    this.#checkSize(key, data.length);
    const ctype = options.ctype ?? detectMediaType(data);
    return { type: "inline", oid: this.#sink.write("blob", data), size: data.length, etag: this.#etagOf(data), ctype };
  }

  #readFile(key: Key, path: string): Buffer {
    this.#checkSize(key, fs.statSync(path).size);
    return fs.readFileSync(path);
  }

  #checkSize(key: Key, size: number): void {
    if (size <= this.#rules.maxInline) return;
    throw new KvError(
      "VALUE_TOO_LARGE",
      `the value of ${JSON.stringify(keyText(key))} has ${size} bytes, at most ${this.#rules.maxInline} are stored inline`,
      {
        hint: "larger values will be stored in pieces by a later version",
      },
    );
  }
}
