/** How many loose objects there are, at the price of one folder (git: builtin/gc.c, too_many_loose_objects). */

import type { ObjectFormat } from "../object/oid.ts";
import { readDirIfThere } from "./loose.ts";

/** Any of the 256 would do: ids are spread evenly. It is the one git looks at. */
const SAMPLE = "17";

/** Whether there are about more than `limit` loose objects, judged by one folder in 256. */
export function hasManyLoose(objectsDir: string, format: ObjectFormat, limit: number): boolean {
  return looseNames(`${objectsDir}/${SAMPLE}`, format).length > Math.ceil(limit / 256);
}

/** Names of the loose objects in one of the 256 folders: their ids without the first two digits. */
export function looseNames(dir: string, format: ObjectFormat): string[] {
  return readDirIfThere(dir).filter((name) => name.length === format.hexSize - 2 && /^[0-9a-f]+$/.test(name));
}
