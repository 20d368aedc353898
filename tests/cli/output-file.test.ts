/** Files that commands write whole or not at all. */

import { expect, test } from "bun:test";
import * as fs from "node:fs";
import * as path from "node:path";
import { OutputFile } from "../../src/commands/output-file.ts";
import { tempDir } from "../support/temp.ts";

test("what one that was killed left is in nobody's way, whatever number the next process has", () => {
  const file = path.join(tempDir("output"), "value");
  OutputFile.create(file).write(Buffer.from("half"));
  const next = OutputFile.create(file);
  next.write(Buffer.from("whole"));
  next.commit({ fsync: true });
  expect(fs.readFileSync(file, "utf8")).toBe("whole");
});
