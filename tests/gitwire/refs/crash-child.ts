/** Makes a transaction and kills itself at a given call to the disk. Arguments: repository, number of the call, changes. */

import * as path from "node:path";
import { type Disk, systemDisk } from "../../../src/gitwire/disk.ts";
import { RefStore } from "../../../src/gitwire/refs/ref-store.ts";
import { ObjectStore } from "../../../src/gitwire/store/object-store.ts";
import { TEST_FORMAT } from "../../support/test-format.ts";

const [dir, at, changes] = process.argv.slice(2) as [string, string, string];

let calls = 0;
const disk = Object.fromEntries(
  Object.entries(systemDisk).map(([name, call]) => [
    name,
    (...args: unknown[]) => {
      if (calls++ === Number(at)) process.kill(process.pid, "SIGKILL");
      return (call as (...args: unknown[]) => unknown)(...args);
    },
  ]),
) as unknown as Disk;

const objects = new ObjectStore(path.join(dir, "objects"), TEST_FORMAT);
const refs = new RefStore({ gitDir: dir, commonDir: dir, format: TEST_FORMAT, objects: () => objects, disk });
await refs.update(JSON.parse(changes));
