/** `help`: the commands, or the help of one, as text or as a manual page. */

import { version } from "../../package.json";
import type { Program } from "./command.ts";
import type { Context } from "./context.ts";
import { unknownCommand } from "./dispatch.ts";

export async function showHelp(program: Program, { args, flags, out }: Context): Promise<void> {
  const words = args.list("command");
  const command = program.commands.find(({ name }) => name === words.join(" "));
  if (words.length > 0 && command === undefined) throw unknownCommand(program, words);
  if (flags.on("man")) {
    const { manPage } = await import("./man-page.ts");
    out.answer(manPage(program, (await program.manual?.()) ?? {}, command, version));
    return;
  }
  const usage = await import("./usage.ts");
  out.line(command === undefined ? usage.overview(program) : usage.commandHelp(program, command));
}
