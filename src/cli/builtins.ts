/** The commands every program has. They read the program's own table, so they are made for it. */

import { EXIT } from "../errors.ts";
import type { Command, Program } from "./command.ts";

/** `help`, `version` and `completion` of the program that `program` returns. */
export function builtins(topic: string, program: () => Program): readonly Command[] {
  return [
    {
      name: "help",
      topic,
      summary: "Show the commands, or the help of one",
      args: [{ name: "command", count: "any", summary: "The command" }],
      load: async () => {
        const [usage, { unknownCommand }] = await Promise.all([import("./usage.ts"), import("./dispatch.ts")]);
        return {
          run({ args, out }) {
            const words = args.list("command");
            const command = program().commands.find(({ name }) => name === words.join(" "));
            if (words.length > 0 && command === undefined) throw unknownCommand(program(), words);
            out.line(command === undefined ? usage.overview(program()) : usage.commandHelp(program(), command));
            return EXIT.ok;
          },
        };
      },
    },
    {
      name: "version",
      topic,
      summary: "Show the version",
      load: async () => {
        const { showVersion } = await import("./version.ts");
        return { run: ({ out }) => showVersion(program(), out) };
      },
    },
    {
      name: "completion",
      topic,
      summary: "Print a completion script for a shell",
      args: [{ name: "shell", count: "one", choices: ["bash", "zsh", "fish"], summary: "Which shell" }],
      load: async () => {
        const { completionScript } = await import("./completion/script.ts");
        return { run: ({ args, out }) => out.answer(completionScript(program(), args.one("shell"))) };
      },
    },
  ];
}
