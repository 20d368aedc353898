/**
 * Runs the tests and ends with the line `N passed, N failed` and Bun's exit status. Arguments go to `bun test`; without any,
 * every test is run, in several processes: a test that waits for a disk or for another program leaves a processor idle.
 */

import * as os from "node:os";

/** Milliseconds one test or hook may take: a busy machine is no failure. */
const TIMEOUT = "60000";

/** Processes that share the test files; more would take the memory and the patience of tests that count on both. */
const processes = Math.min(os.availableParallelism(), 4);
const chosen = process.argv.slice(2);
const args = chosen.length > 0 ? chosen : [`--parallel=${processes}`, "--no-isolate"];

const run = Bun.spawn([process.execPath, "test", "--timeout", TIMEOUT, ...args], {
  stdin: "ignore",
  stdout: "inherit",
  stderr: "pipe",
});
const decoder = new TextDecoder();
let tail = "";
async function pass(): Promise<void> {
  for await (const chunk of run.stderr) {
    process.stderr.write(chunk);
    // The summary is at the end; the rest need not be kept.
    tail = (tail + decoder.decode(chunk, { stream: true })).slice(-16_384);
  }
}

const passing = pass();
const status = await run.exited;
// A process that a test left behind would hold the pipe open for ever.
await Promise.race([passing, Bun.sleep(2_000)]);

/** The number before `word` on a line of its own in the summary. */
function count(word: string): number {
  const found = [...tail.matchAll(new RegExp(`^\\s*(\\d+) ${word}s?\\s*$`, "gm"))].at(-1);
  return Number(found?.[1] ?? 0);
}

const failed = count("fail");
// A file that does not load, or a run that broke off, is no failed test to Bun but must not look like success.
const unnamed = status !== 0 && failed === 0 ? Math.max(1, count("error")) : 0;
console.log(`${count("pass")} passed, ${failed + unnamed} failed`);
process.exit(status);
