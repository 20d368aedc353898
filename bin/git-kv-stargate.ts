#!/usr/bin/env bun
/** The executable git-kv-stargate, the gateway. */

import { main } from "../src/cli/main.ts";
import { withService } from "../src/stargate/commands/invocation.ts";
import { PROGRAM } from "../src/stargate/commands/table.ts";

await main(PROGRAM, withService(process.argv0, process.argv.slice(2)));
