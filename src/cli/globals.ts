/** The flags every command of every program takes. */

import type { FlagSpec } from "./spec.ts";

export const COMMON_FLAGS: readonly FlagSpec[] = [
  { name: "json", type: "boolean", summary: "Answer in JSON, one object a line, errors too" },
  { name: "quiet", alias: "q", type: "boolean", summary: "Say nothing but the answer and errors" },
  { name: "debug", type: "boolean", summary: "Show more of what happens, and the stack of an error" },
  { name: "no-color", type: "boolean", summary: "No colours (as does NO_COLOR in the environment)" },
  {
    name: "cwd",
    alias: "C",
    type: "repeatable",
    value: "DIR",
    complete: "directory",
    summary: "Run as if started in DIR",
  },
  { name: "help", alias: "h", type: "boolean", summary: "Show help" },
  { name: "version", type: "boolean", summary: "Show the version" },
];
