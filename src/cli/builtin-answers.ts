/** What the commands that every program has answer with --json. */

import { type AnswerSchema, anything, either, integer, list, record, text } from "../answer-schema.ts";

const FLAGS = list(anything("A flag: name, alias, type, value, choices, summary"), "Its flags");

export const BUILTIN_ANSWERS: Readonly<Record<string, AnswerSchema>> = {
  help: either(
    record({
      name: text("The executable"),
      title: text("How people call it"),
      summary: text("What it is"),
      flags: FLAGS,
      commands: list(
        record({ name: text("One word or two"), topic: text("Its heading"), summary: text("What it does") }),
        "The commands",
      ),
    }),
    record({
      name: text("The command"),
      topic: text("Its heading"),
      summary: text("What it does"),
      usage: list(text("A usage line"), "How it is called"),
      args: list(anything("An argument: name, count, summary, choices"), "Its arguments"),
      flags: FLAGS,
      "details?": text("More about it"),
      examples: list(text("A command line"), "Examples"),
      "answers?": anything("The JSON Schema of a line that it answers"),
    }),
  ),
  version: record({
    version: text("Semantic version"),
    commit: text("The commit it was built from; unknown where it was not built from one"),
    bun: text("Version of Bun inside"),
    format: integer("Version of the data format"),
  }),
  completion: record({ shell: text("bash, zsh or fish"), script: text("The script") }),
};
