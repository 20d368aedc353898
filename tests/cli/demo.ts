/** The program of these tests as an executable. */

import { main } from "../../src/cli/main.ts";
import { PROGRAM } from "./program.ts";

await main(PROGRAM);
