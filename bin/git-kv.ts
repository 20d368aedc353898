#!/usr/bin/env bun
/** The executable git-kv, which git runs as `git kv`. */

import { main } from "../src/cli/main.ts";
import { PROGRAM } from "../src/commands/table.ts";

await main(PROGRAM);
