/** `git-kv-stargate hook NAME`: what the installed hooks run; each asks whoever leads the repository, or leads it meanwhile. */

import type { Context } from "../../cli/context.ts";
import { KvError } from "../../errors.ts";
import type { ByteSink } from "../../gitwire/protocol/byte-stream.ts";
import { openRepository, type Repository } from "../../gitwire/repo.ts";
import { LIMITS } from "../../limits.ts";
import { checkPush, type HookAnswer, type HookPhase, type HookRequest } from "../hook-call.ts";
import { answerHook } from "../hook-push.ts";
import { refuseGuarded } from "../hooks.ts";
import { formatResults, parseCommandLine, readProcReceive } from "../proc-receive.ts";
import { asRejection, rejectAll } from "../rejection.ts";
import { callDaemon, withGate } from "./stdio.ts";

/** Returns the hook's exit status. */
export async function run(context: Context): Promise<number> {
  const { args, env, stdin } = context;
  const hook = args.one("hook");
  if (hook === "update") {
    refuseGuarded(args.list("args")[0] ?? "");
    return 0;
  }
  if (hook === "proc-receive") return procReceive(context);
  const input = (await stdin.bytes(LIMITS.requestBody)).toString("utf8");
  const commands = input
    .split("\n")
    .filter((line) => line !== "")
    .map(parseCommandLine);
  const phase = hook === "pre-receive" ? "judge" : "moved";
  const options = hook === "pre-receive" ? pushOptions(env) : [];
  const { results, said } = await ask(context, { phase, commands, options, quarantine: env.GIT_QUARANTINE_PATH });
  tell(context, { results, said });
  const isRefused = results.length > 0 && results.every(({ status }) => status === "ng");
  return isRefused || (phase === "moved" && said !== "") ? 1 : 0;
}

async function procReceive(context: Context): Promise<number> {
  const { stdin, out } = context;
  const output: ByteSink = {
    write: async (bytes) => {
      out.answer(new Uint8Array(bytes));
      out.flush();
    },
  };
  const push = await readProcReceive({ read: () => stdin.read() }, output);
  const answer = await ask(context, { phase: "accept", ...push });
  tell(context, { ...answer, results: [] });
  await output.write(formatResults(answer.results));
  return 0;
}

/** What was said, and each refusal with its code: git itself only says that a hook declined. */
function tell({ out }: Context, { results, said }: HookAnswer): void {
  for (const line of said.split("\n").filter((text) => text !== "")) out.note(line);
  const reasons = results.flatMap((one) => (one.status === "ng" ? [one.reason] : []));
  for (const reason of new Set(reasons)) out.note(reason);
}

/** One more than may be, at the most: too many are found where all of a push is checked. */
function pushOptions(env: Context["env"]): string[] {
  const count = Math.min(Number(env.GIT_PUSH_OPTION_COUNT ?? 0), LIMITS.pushOptions + 1);
  return Array.from({ length: count }, (_, i) => env[`GIT_PUSH_OPTION_${i}`] ?? "");
}

/** The leader's answer; where there is none, a refusal that says why. */
async function ask(context: Context, request: HookRequest & { readonly phase: HookPhase }): Promise<HookAnswer> {
  try {
    return await askLeader(context, request);
  } catch (thrown) {
    let said = "";
    const results = rejectAll(request.commands, asRejection(thrown), (text) => {
      said += text;
    });
    return { results, said };
  }
}

async function askLeader(context: Context, request: HookRequest): Promise<HookAnswer> {
  const repo = hookRepository(context);
  checkPush(request, repo.format);
  // Who can run git on this folder is not thereby an admin: sshd lets people in who can do nothing but push.
  const who = { name: context.env.USER ?? context.env.LOGNAME ?? "git", scope: "write", door: "hook" } as const;
  const answer = await askDaemon(context, repo, who.name, request);
  if (answer !== undefined) return answer;
  return withGate(context, repo, "hook", (served) => answerHook(served, who, request));
}

async function askDaemon(
  { env }: Context,
  repo: Repository,
  user: string,
  request: HookRequest,
): Promise<HookAnswer | undefined> {
  let sent = false;
  const answer: Buffer[] = [];
  const duplex = {
    input: {
      read: async (): Promise<Buffer | undefined> => {
        // No end: a socket of which one half is closed is closed, to some.
        if (sent) return new Promise(() => {});
        sent = true;
        return Buffer.from(`${JSON.stringify(request)}\n`);
      },
    },
    output: {
      write: async (bytes: Uint8Array): Promise<void> => {
        answer.push(Buffer.from(bytes));
      },
    },
  };
  const call = { service: "hook", repo: repo.gitDir, protocol: "", user, scope: "write", door: "hook" } as const;
  if (!(await callDaemon(repo, env, call, duplex))) return undefined;
  try {
    return JSON.parse(Buffer.concat(answer).toString("utf8")) as HookAnswer;
  } catch (cause) {
    throw new KvError("BUSY", "the Stargate that serves this repository gave no answer", { cause });
  }
}

/** The repository git runs the hook in; not its quarantine, which git puts into the environment. */
function hookRepository({ env, cwd }: Context): Repository {
  const { GIT_OBJECT_DIRECTORY: _quarantine, GIT_ALTERNATE_OBJECT_DIRECTORIES: _alternates, ...rest } = env;
  return openRepository(env.GIT_DIR ?? cwd, rest);
}
