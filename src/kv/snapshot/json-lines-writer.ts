/** Snapshots as JSON lines (docs/formats/snapshot.md), written; json-lines.ts reads them and has the grammar. */

import { decodeUtf8 } from "../../bytes.ts";
import { keyText } from "../key.ts";
import type { NamespaceState } from "../state.ts";
import type { ExportedKey } from "./exported.ts";
import type { SnapshotWriter, WriteText } from "./writer.ts";

/** Bytes of one part of a long value, and the longest value that is on the line of its key. */
const PART = 512 * 1024;

/** Writes the lines; `strip` is taken off every key. */
export function jsonLinesWriter(state: NamespaceState, write: WriteText, strip = ""): SnapshotWriter {
  let keys = 0;
  const { ns, ledger } = state;
  return {
    begin: () => line(write, { snapshot: 1, ns, seq: ledger.seq, oid: ledger.oid, epoch: ledger.epoch }),
    add: (exported) => {
      keys++;
      const { data } = exported;
      if (data !== undefined && data.length <= PART)
        return line(write, { ...head(exported, strip), ...value(data), ...facts(exported) });
      return addParts(exported, write, strip);
    },
    end: () => line(write, { end: true, keys }),
  };
}

const line = (write: WriteText, value: object): void => write(`${JSON.stringify(value)}\n`);

const head = ({ key }: ExportedKey, strip: string): object => ({ key: keyText(key).slice(strip.length) });

function value(data: Buffer): object {
  const text = decodeUtf8(data);
  return text === undefined ? { value_b64: data.toString("base64") } : { value: text };
}

function facts({ meta }: ExportedKey): object {
  const { type, ctype, expires, labels, rev, size, etag } = meta;
  return { type, ctype, expires, labels, rev, size, etag };
}

/** A long value: so many parts follow its line. */
async function addParts(exported: ExportedKey, write: WriteText, strip: string): Promise<void> {
  const { size } = exported.meta;
  line(write, { ...head(exported, strip), parts: Math.ceil(size / PART), ...facts(exported) });
  const room = Buffer.allocUnsafe(PART);
  let filled = 0;
  let part = 0;
  const emit = (): void => {
    line(write, { part: ++part, value_b64: room.toString("base64", 0, filled) });
    filled = 0;
  };
  await exported.stream((bytes) => {
    for (let at = 0; at < bytes.length; ) {
      const count = bytes.copy(room, filled, at);
      at += count;
      filled += count;
      if (filled === PART) emit();
    }
  });
  if (filled > 0) emit();
}
