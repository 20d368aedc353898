/** Writing a loose object (loose.ts says what its file holds). */

import * as fs from "node:fs";
import * as path from "node:path";
import { hashObject, type ObjectFormat, type ObjectKind, type Oid } from "../object/oid.ts";
import { createTemp, fsyncDir } from "../pack/temp-file.ts";
import { deflate } from "../pack/zlib.ts";
import { hasLoose, loosePath } from "./loose.ts";

/**
 * Writes an object loose where it is not there yet; returns its id. `fsync`: it is on disk, under its name, when this
 * returns.
 */
export function writeLooseFile(
  objectsDir: string,
  format: ObjectFormat,
  kind: ObjectKind,
  data: Uint8Array,
  options: { fsync: boolean },
): Oid {
  const oid = hashObject(format, kind, data);
  if (hasLoose(objectsDir, oid)) return oid;
  const dir = path.join(objectsDir, oid.slice(0, 2));
  const newDir = !fs.existsSync(dir);
  const temp = createTemp(dir, "tmp_obj_");
  try {
    const header = Buffer.from(`${kind} ${data.length}\0`, "latin1");
    fs.writeFileSync(temp.fd, deflate(Buffer.concat([header, data])));
    temp.commit(loosePath(objectsDir, oid), options);
  } finally {
    temp.discard();
  }
  if (options.fsync) {
    fsyncDir(dir);
    if (newDir) fsyncDir(objectsDir);
  }
  return oid;
}
