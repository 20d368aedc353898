/** Operations as programs give them, checked and made lines of a transaction. */

import { KvError } from "../errors.ts";
import { isOid, type ObjectFormat } from "../gitwire/object/oid.ts";
import { parseLabels, type ValueInput, type WriteLine } from "./batch.ts";
import { parseKeyExpiry } from "./expiry.ts";
import { parseKey } from "./key.ts";
import { parseMediaType } from "./media-type.ts";
import type { Condition } from "./operation.ts";
import type { Labels } from "./record.ts";

/** What must be true of the key before: it is absent, its value is this blob, or its last revision is this one. */
export type KvCondition = { readonly absent: true } | { readonly blob: string } | { readonly rev: number };

/** One operation of a transaction. */
export type KvOperation =
  | {
      readonly op: "set";
      readonly key: string;
      readonly value: string | Uint8Array;
      /** Media type; text and JSON are recognised. */
      readonly ctype?: string;
      /** `90s`, `15m`, `2h`, `30d`, or `never`. */
      readonly ttl?: string;
      readonly expires?: Date;
      readonly labels?: Labels;
      readonly if?: KvCondition;
    }
  | { readonly op: "del"; readonly key: string; readonly if?: KvCondition }
  /** Changes nothing, demands a condition. */
  | { readonly op: "check"; readonly key: string; readonly if: KvCondition };

/** The line that does what `operation` says. Throws KEY_INVALID, INPUT_INVALID. `now` in Unix seconds. @internal */
export function toWriteLine(operation: KvOperation, format: ObjectFormat, now: number): WriteLine {
  const key = parseKey(operation.key);
  const condition = operation.if === undefined ? undefined : toCondition(operation.if, format);
  switch (operation.op) {
    case "del":
      return { op: "del", key, condition };
    case "check":
      if (condition === undefined) throw new KvError("INPUT_INVALID", "a check needs a condition");
      return { op: "check", key, condition };
    case "set": {
      const { value, ctype, ttl, expires, labels } = operation;
      const data =
        typeof value === "string" ? Buffer.from(value) : Buffer.from(value.buffer, value.byteOffset, value.byteLength);
      const input: ValueInput = { kind: "bytes", data };
      const options = {
        ctype: ctype === undefined ? undefined : parseMediaType(ctype),
        expires: parseKeyExpiry(ttl, expires?.toISOString(), now),
        labels: labels === undefined || Object.keys(labels).length === 0 ? undefined : parseLabels(labels),
      };
      return { op: "set", key, value: input, options, condition };
    }
  }
}

function toCondition(given: KvCondition, format: ObjectFormat): Condition {
  if ("absent" in given) return { kind: "absent" };
  if ("rev" in given) {
    if (Number.isSafeInteger(given.rev) && given.rev >= 0) return { kind: "rev", rev: given.rev };
    throw new KvError("INPUT_INVALID", `${given.rev} is no revision`);
  }
  if (isOid(format, given.blob)) return { kind: "blob", oid: given.blob };
  throw new KvError("INPUT_INVALID", `'${given.blob}' is not an object id of ${format.hexSize} hex digits`);
}
