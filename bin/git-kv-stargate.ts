#!/usr/bin/env bun
/** The executable git-kv-stargate, the gateway. */

import { main } from "../src/cli/main.ts";
import { PROGRAM } from "../src/stargate/commands/table.ts";

await main(PROGRAM);
