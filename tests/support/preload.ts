/** Loaded before every test file: the environment a test sees is the same everywhere. */

import { afterAll } from "bun:test";
import { removeTempDirs } from "./temp.ts";
import { TEST_FORMAT } from "./test-format.ts";

// On a machine whose disk is busy removing them takes a while.
afterAll(removeTempDirs, 120_000);

// Repositories that a test makes without saying more, with git or with us, are of this format.
process.env.GIT_DEFAULT_HASH = TEST_FORMAT.name;
process.env.LC_ALL = "C";
process.env.TZ = "UTC";
process.env.GIT_CONFIG_NOSYSTEM = "1";
process.env.GIT_CONFIG_GLOBAL = "/dev/null";
process.env.GIT_AUTHOR_NAME = "Test Author";
process.env.GIT_AUTHOR_EMAIL = "author@example.com";
process.env.GIT_COMMITTER_NAME = "Test Committer";
process.env.GIT_COMMITTER_EMAIL = "committer@example.com";
