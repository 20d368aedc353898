/** Options to connect with, for tests: configuration and environment are what the test gives and nothing else. */

import { GitConfig } from "../../src/gitwire/config.ts";
import type { ConnectOptions } from "../../src/gitwire/transport/connect-options.ts";
import { tempDir } from "./temp.ts";

export const AGENT = "git-kv/test";

/** `config` as pairs, so that a variable can come more than once. HOME is an empty folder unless given. */
export function connectOptions(
  config: readonly (readonly [name: string, value: string])[] = [],
  env: Readonly<Record<string, string | undefined>> = {},
): ConnectOptions {
  const all: Record<string, string | undefined> = {
    PATH: process.env.PATH,
    HOME: tempDir("home"),
    GIT_CONFIG_NOSYSTEM: "1",
    GIT_CONFIG_GLOBAL: "/dev/null",
    ...env,
  };
  return { config: gitConfig(config), env: all, agent: AGENT };
}

/** A configuration of these variables. */
export function gitConfig(config: readonly (readonly [name: string, value: string])[]): GitConfig {
  const env: Record<string, string> = {
    GIT_CONFIG_NOSYSTEM: "1",
    GIT_CONFIG_GLOBAL: "/dev/null",
    GIT_CONFIG_COUNT: String(config.length),
  };
  for (const [i, [name, value]] of config.entries()) {
    env[`GIT_CONFIG_KEY_${i}`] = name;
    env[`GIT_CONFIG_VALUE_${i}`] = value;
  }
  return GitConfig.load({ env });
}
