/** The commands about epochs. */

import type { Command } from "../../cli/command.ts";
import { MESSAGE } from "./flags.ts";

export const EPOCHS: readonly Command[] = [
  {
    name: "epoch new",
    topic: "Epochs",
    summary: "Close the current epoch and begin another one",
    flags: [
      {
        name: "label",
        type: "string",
        value: "LABEL",
        summary: "What the new epoch is called; no label is used twice",
      },
      MESSAGE,
    ],
    details:
      "One transaction, signed by an admin of the policy: the keys as they are, without expired ones, without tombstones, without what " +
      "came before. A clone then brings the new epoch only. The old one stays as an archive that 'history --epochs' and 'get --at' fetch " +
      "when they need it. Writers and readers notice nothing: a write that meets it is made again on the new epoch.\n\n" +
      "Prints the ledger commit. Exit 3 for who is no admin, 4 for a label that was used.",
    examples: ["epoch new --label e2", "epoch new --label 2027-01 -m 'A new year'"],
    load: () => import("../epoch-new.ts"),
  },
  {
    name: "epoch list",
    topic: "Epochs",
    summary: "List the epochs, newest first",
    flags: [{ name: "fetch", type: "boolean", summary: "Fetch the archives that are not here" }],
    details:
      "Label, state (current, closed, not here), first and last transaction, time it began and last ledger commit, with tabs between " +
      "them. Without --fetch the list ends with the first epoch whose archive is not here.",
    examples: ["epoch list", "epoch list --fetch --json"],
    load: () => import("../epoch-list.ts"),
  },
  {
    name: "compact",
    topic: "Epochs",
    summary: "Leave expired keys and tombstones behind in a new epoch",
    flags: [
      { name: "dry-run", type: "boolean", summary: "Only show what would be left behind" },
      {
        name: "label",
        type: "string",
        value: "LABEL",
        summary: "What the new epoch is called (default: the label of this one, counted on)",
      },
      MESSAGE,
    ],
    details:
      "The same as 'epoch new', where there is something to leave behind; else nothing. Then packs of this repository are combined " +
      "where there are many.",
    examples: ["compact --dry-run", "compact"],
    load: () => import("../compact.ts"),
  },
];
