/**
 * Runs the tests and ends with the line `N passed, N failed` and an exit status. Arguments go to `bun test`; without any,
 * every test is run, in several processes: a test that waits for a disk or for another program leaves a processor idle.
 *
 * Tests that run beside others can be starved of a processor. Where a few files fail in such a run they are run once more, one
 * after the other: what fails again has failed, what does not is named as unsteady, to be mended.
 */

import * as os from "node:os";

/** Milliseconds one test or hook may take: a busy machine is no failure. */
const TIMEOUT = "60000";

/** Processes that share the test files; more would take the memory and the patience of tests that count on both. */
const PROCESSES = Math.min(os.availableParallelism(), 4);

/** Most files that are run again: more than these is no matter of chance. */
const MOST_AGAIN = 3;

interface Outcome {
  readonly status: number;
  readonly passed: number;
  readonly failed: number;
  /** Files with a test that failed, of so many that were run. */
  readonly failing: ReadonlySet<string>;
  readonly files: number;
}

/** Runs `bun test` with `args`, showing what it says. */
async function runTests(args: readonly string[]): Promise<Outcome> {
  const run = Bun.spawn([process.execPath, "test", "--timeout", TIMEOUT, ...args], {
    stdin: "ignore",
    stdout: "inherit",
    stderr: "pipe",
  });
  const decoder = new TextDecoder();
  const counts = { pass: 0, fail: 0, error: 0 };
  const failing = new Set<string>();
  let file = "";
  let files = 0;
  let rest = "";
  const read = (line: string): void => {
    const heading = /^(tests\/\S+\.test\.ts):$/.exec(line)?.[1];
    if (heading !== undefined) file = heading;
    if (line.startsWith("(fail) ") && file !== "") failing.add(file);
    // The summary: each number on a line of its own.
    const [, number, word] = /^\s*(\d+) (pass|fail|error)s?\s*$/.exec(line) ?? [];
    if (word !== undefined) counts[word as keyof typeof counts] = Number(number);
    const across = /^Ran \d+ tests? across (\d+) files?\./.exec(line)?.[1];
    if (across !== undefined) files = Number(across);
    // The failures are listed once more at the end, below the last file.
    if (/^\d+ tests failed:$/.test(line)) file = "";
  };
  const pass = async (): Promise<void> => {
    for await (const chunk of run.stderr) {
      process.stderr.write(chunk);
      const lines = (rest + decoder.decode(chunk, { stream: true })).split("\n");
      rest = lines.pop()!;
      for (const line of lines) read(line);
    }
    read(rest);
  };
  const passing = pass();
  const status = await run.exited;
  // A process that a test left behind would hold the pipe open for ever.
  await Promise.race([passing, Bun.sleep(2_000)]);
  // A file that does not load, or a run that broke off, is no failed test to Bun but must not look like success.
  const unnamed = status !== 0 && counts.fail === 0 ? Math.max(1, counts.error) : 0;
  return { status, passed: counts.pass, failed: counts.fail + unnamed, failing, files };
}

/** Whether a run of all files came to its end, with failures in a few of them. */
function isWorthAgain({ status, failing, files }: Outcome): boolean {
  const all = [...new Bun.Glob("tests/**/*.test.ts").scanSync()].length;
  return status !== 0 && files === all && failing.size > 0 && failing.size <= MOST_AGAIN;
}

const chosen = process.argv.slice(2);
const first = await runTests(chosen.length > 0 ? chosen : [`--parallel=${PROCESSES}`, "--no-isolate"]);
let { status, passed, failed } = first;
if (chosen.length === 0 && isWorthAgain(first)) {
  console.log(`once more, by themselves: ${[...first.failing].join(", ")}`);
  const again = await runTests([...first.failing]);
  if (again.status === 0) {
    for (const file of first.failing) console.log(`unsteady: ${file} failed beside others and passed by itself`);
    [status, passed, failed] = [0, passed + failed, 0];
  }
}
console.log(`${passed} passed, ${failed} failed`);
process.exit(status);
