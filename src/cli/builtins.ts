/** The commands every program has. They read the program's own table, so they are made for it. */

import type { Command, Program } from "./command.ts";

/** `help`, `version` and `completion` of the program that `program` returns. */
export function builtins(topic: string, program: () => Program): readonly Command[] {
  return [
    {
      name: "help",
      topic,
      summary: "Show the commands, or the help of one",
      args: [{ name: "command", count: "any", complete: "command", summary: "The command" }],
      flags: [{ name: "man", type: "boolean", summary: "Print it as a manual page, for man -l -" }],
      load: async () => {
        const { runHelp } = await import("./help.ts");
        return { run: (context) => runHelp(program(), context) };
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
        return {
          run({ args, out }) {
            const shell = args.one("shell");
            const script = completionScript(program(), shell);
            if (out.json) out.record({ shell, script });
            else out.answer(script);
          },
        };
      },
    },
  ];
}
