/** Folders on disks that do not tell upper case from lower: the disk of the tests may do so. */

import { expect, test } from "bun:test";
import { FolderNames } from "../../src/commands/snapshot-folder.ts";

test("a folder that is there by another name is taken, at whatever depth; files are not looked at", () => {
  const names = new FolderNames();
  const taken = ["A/x", "A/X", "A/b/c", "a/y", "A/B/d", "é/x", "É/y", "e\u0301/z", "b/a/x", "f", "F"].filter((file) =>
    names.isTaken(file.split("/")),
  );
  expect(taken).toEqual(["a/y", "A/B/d", "É/y", "e\u0301/z"]);
});
