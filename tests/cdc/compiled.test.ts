/** The module that cuts is found inside a compiled executable, wherever that runs. */

import { expect, test } from "bun:test";
import * as fs from "node:fs";
import * as path from "node:path";
import { compileOptions } from "../../scripts/compile.ts";
import { DEFAULT_CHUNKING } from "../../src/cdc/chunking.ts";
import { runProgram } from "../support/executable.ts";
import { pieceSizes } from "../support/fastcdc.ts";
import { noise } from "../support/noise.ts";
import { tempDir } from "../support/temp.ts";

test("a compiled program cuts as the sources do", async () => {
  const dir = tempDir("compiled");
  const input = noise("compiled", 3_000_000);
  fs.writeFileSync(path.join(dir, "input"), input);
  const entry = path.join(dir, "cut.ts");
  const chunker = path.join(import.meta.dir, "../../src/cdc/chunker.ts");
  fs.writeFileSync(
    entry,
    `import * as fs from "node:fs";
     import { openChunker } from ${JSON.stringify(chunker)};
     const chunker = openChunker(${JSON.stringify(DEFAULT_CHUNKING)});
     const input = fs.readFileSync("input");
     const early = [...chunker.take(input.copy(chunker.room()))];
     console.log(JSON.stringify(Array.from([...early, ...chunker.finish()], (piece) => piece.length)));`,
  );
  const program = path.join(dir, "cut");
  const built = await Bun.build(compileOptions(entry, program, "test"));
  expect(built.success).toBe(true);
  fs.rmSync(entry);
  const run = runProgram(program, [], { cwd: dir });
  expect(run.stderr).toBe("");
  expect(JSON.parse(run.stdout)).toEqual(pieceSizes(input, DEFAULT_CHUNKING));
}, 60_000);
