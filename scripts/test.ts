/** Runs the tests and ends with the line `N passed, N failed` and Bun's exit status. Arguments go to `bun test`. */

/** Milliseconds one test or hook may take: a busy machine is no failure. */
const TIMEOUT = "60000";

const run = Bun.spawn([process.execPath, "test", "--timeout", TIMEOUT, ...process.argv.slice(2)], {
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

export {};
