/** Lists refs until the deadline, eleven times at least, and counts how often refs/kv/a and refs/kv/b differ. Arguments: repository, deadline. */

import * as path from "node:path";
import { RefStore } from "../../../src/gitwire/refs/ref-store.ts";
import { ObjectStore } from "../../../src/gitwire/store/object-store.ts";
import { TEST_FORMAT } from "../../support/test-format.ts";

const [dir, deadline] = process.argv.slice(2) as [string, string];
const objects = new ObjectStore(path.join(dir, "objects"), TEST_FORMAT);
const refs = new RefStore({ gitDir: dir, commonDir: dir, format: TEST_FORMAT, objects: () => objects });
let reads = 0;
let torn = 0;
while (Date.now() < Number(deadline) || reads <= 10) {
  const [a, b] = refs.snapshot(["refs/kv/"]);
  if (a === undefined || b === undefined || a.oid !== b.oid) torn++;
  reads++;
}
console.log(`${reads} reads, ${torn} torn`);
