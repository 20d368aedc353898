/** Commands that begin a store or a clone. */

import type { Command } from "../../cli/command.ts";

export const START: readonly Command[] = [
  {
    name: "init",
    topic: "Start",
    summary: "Make a namespace here, and a repository where there is none",
    flags: [{ name: "epoch", type: "string", value: "LABEL", summary: "Label of the first epoch (default: e1)" }],
    examples: ["init", "init --ns staging"],
    load: () => import("../init.ts"),
  },
  {
    name: "clone",
    topic: "Start",
    summary: "Clone a repository with its namespaces, ready to write through its Stargate",
    args: [
      { name: "url", count: "one", summary: "Where to clone from" },
      {
        name: "dir",
        count: "optional",
        complete: "directory",
        summary: "Folder to make (default: the URL's last part)",
      },
    ],
    flags: [{ name: "no-setup", type: "boolean", summary: "Do not set up writing through the Stargate" }],
    load: () => import("../clone.ts"),
  },
  {
    name: "remote setup",
    topic: "Start",
    summary: "Make this clone write through the Stargate that its policy names",
    flags: [
      { name: "remote", type: "string", value: "NAME", summary: "The remote (default: kv.remote, else origin)" },
      { name: "undo", type: "boolean", summary: "Take the set-up back" },
    ],
    load: () => import("../remote-setup.ts"),
  },
];
