/**
 * Runs a command for `runPeak` (measure.ts) in a process that is small: what a process has resident when it starts another counts as the
 * other's. The last line on stderr is what was measured, in JSON.
 */

const started = performance.now();
const run = Bun.spawnSync(process.argv.slice(2), { stdio: ["inherit", "inherit", "inherit"] });
const ms = performance.now() - started;
console.error(`\n${JSON.stringify({ ms, rss: run.resourceUsage.maxRSS })}`);
process.exitCode = run.exitCode;
