/** Runs a program: finds the command, loads its verb, runs it, reports its error. The result is the exit status. */

import * as fs from "node:fs";
import * as path from "node:path";
import { systemClock } from "../clock.ts";
import { EXIT, KvError, toKvError } from "../errors.ts";
import { trace, tracing } from "../trace.ts";
import type { Program } from "./command.ts";
import { type Context, type Environment, Flags } from "./context.ts";
import { bindArgs, dispatch, type Request } from "./dispatch.ts";
import type { Parsed } from "./flags.ts";
import { Output, OutputClosed } from "./output.ts";
import { Stdin } from "./stdin.ts";

/** The process as the runner sees it. */
export interface Host {
  /** Arguments without the executable. */
  readonly argv: readonly string[];
  /** Number (from 1) of an argument that is not UTF-8, so that `argv` does not say what was meant. */
  readonly undecodable?: number | undefined;
  readonly env: Environment;
  /** Aborted when the program is told to end. */
  readonly signal: AbortSignal;
}

/** Never throws. */
export async function run(program: Program, host: Host): Promise<number> {
  const out = new Output(outputOptions(host));
  try {
    if (host.undecodable !== undefined) {
      throw new KvError("INPUT_INVALID", `argument ${host.undecodable} is not UTF-8`, {
        hint: "give a value that is not text with --file or on standard input",
      });
    }
    const status = await obey(program, dispatch(program, host.argv), host, out);
    out.progress("");
    out.flush();
    return status;
  } catch (thrown) {
    return report(thrown, host, out);
  }
}

/**
 * How to write is needed before the arguments are understood, as their errors are written too. No value of a flag begins
 * with two dashes, so the words are found by looking.
 */
function outputOptions(host: Host) {
  const end = host.argv.indexOf("--");
  const flags = new Set(end < 0 ? host.argv : host.argv.slice(0, end));
  return {
    json: flags.has("--json"),
    quiet: flags.has("--quiet") || flags.has("-q"),
    debug: flags.has("--debug"),
    noColor: flags.has("--no-color"),
    env: host.env,
  };
}

async function obey(program: Program, request: Request, host: Host, out: Output): Promise<number> {
  switch (request.kind) {
    case "nothing": {
      const { overview } = await import("./usage.ts");
      if (out.json) throw new KvError("USAGE", "no command is given");
      out.note(overview(program));
      return EXIT.usage;
    }
    case "help": {
      const { showHelp } = await import("./help.ts");
      await showHelp(program, request.command, out);
      return EXIT.ok;
    }
    case "version": {
      const { showVersion } = await import("./version.ts");
      showVersion(program, out);
      return EXIT.ok;
    }
    case "run":
      return runVerb(program, request, host, out);
  }
}

async function runVerb(program: Program, request: Request & { kind: "run" }, host: Host, out: Output): Promise<number> {
  const { command, parsed, known } = request;
  enterDirectory(parsed);
  const context: Context = {
    flags: new Flags(known.specs, parsed.flags),
    args: bindArgs(program, command, parsed.args),
    out,
    stdin: new Stdin(host.signal, () => out.hint("this is read from the terminal; Ctrl-D ends it")),
    env: host.env,
    // Asked for when it is needed: some commands do anywhere.
    get cwd() {
      return workingFolder();
    },
    clock: systemClock,
    signal: host.signal,
  };
  // The executable starts with the compiler held back (scripts/compile.ts).
  if (!command.brief) Bun.unsafe.setJITPolicy(1);
  const started = performance.now();
  const verb = await command.load();
  const loaded = performance.now();
  const status = (await verb.run(context)) ?? EXIT.ok;
  if (tracing("perf")) {
    const [load, work] = [loaded - started, performance.now() - loaded].map((ms) => ms.toFixed(3));
    trace("perf", `${command.name}: exit ${status}; start ${started.toFixed(3)} ms, load ${load} ms, run ${work} ms`);
  }
  return status;
}

/** Each `-C` counts from the one before, as in git. The process moves there: a relative path means the same everywhere. */
function enterDirectory(parsed: Parsed): void {
  const steps = parsed.flags.get("cwd") as readonly string[] | undefined;
  if (steps === undefined) return;
  const target = path.resolve(...steps);
  try {
    process.chdir(target);
  } catch (error) {
    throw new KvError("IO", `cannot change to '${target}': ${(error as NodeJS.ErrnoException).code}`, { cause: error });
  }
}

/** Throws IO where the runtime cannot name it: it puts U+FFFD for what is not UTF-8. */
function workingFolder(): string {
  const folder = process.cwd();
  if (!folder.includes("\ufffd") || fs.existsSync(folder)) return folder;
  throw new KvError("IO", `the path of this folder is not UTF-8: ${folder}`, {
    hint: "go to another folder, or give it another name",
  });
}

function report(thrown: unknown, host: Host, out: Output): number {
  if (thrown instanceof OutputClosed) return OutputClosed.exit;
  const error = host.signal.aborted ? interruption(host.signal, thrown) : toKvError(thrown);
  try {
    out.fail(error);
    out.flush();
  } catch (second) {
    if (second instanceof OutputClosed) return OutputClosed.exit;
  }
  return error.exit;
}

/** What fails because we are told to end is not worth an error of its own, unless it says what is done by then. */
function interruption(signal: AbortSignal, cause: unknown): KvError {
  if (signal.reason instanceof KvError)
    return cause instanceof KvError && cause.code === signal.reason.code ? cause : signal.reason;
  return new KvError("INTERRUPTED", "interrupted", { cause });
}
