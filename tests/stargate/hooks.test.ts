/** The installed hooks: every way they can be wrong is found, and put right by init. */

import { describe, expect, test } from "bun:test";
import * as fs from "node:fs";
import * as path from "node:path";
import { openRepository } from "../../src/gitwire/repo.ts";
import { hookFaults, installHooks } from "../../src/stargate/hooks.ts";
import { git } from "../support/git.ts";
import { bareRepository } from "../support/push.ts";
import { STARGATE_PROGRAM } from "../support/stargate.ts";

describe("the hooks", () => {
  const faults = (dir: string): string[] => {
    const repo = openRepository(dir);
    try {
      return hookFaults(dir, repo.config);
    } finally {
      repo.close();
    }
  };
  function fresh(): string {
    const dir = bareRepository();
    installHooks(dir, STARGATE_PROGRAM);
    return dir;
  }

  test("each fault is found, and init puts it right", () => {
    const dir = fresh();
    expect(faults(dir)).toEqual([]);
    const hook = (name: string): string => path.join(dir, "hooks", name);
    const text = fs.readFileSync(hook("update"), "utf8");
    const damages: [() => void, string][] = [
      [() => fs.rmSync(hook("pre-receive")), "hooks/pre-receive is missing"],
      [() => fs.chmodSync(hook("proc-receive"), 0o644), "hooks/proc-receive is not executable"],
      [
        () => fs.writeFileSync(hook("update"), text.replace("exec", "true || exec")),
        "hooks/update is not the one init wrote",
      ],
      [() => fs.writeFileSync(hook("update"), `${text}exit 0\n`), "hooks/update is not the one init wrote"],
      [() => fs.writeFileSync(hook("update"), ""), "hooks/update is not the one init wrote"],
      [() => fs.writeFileSync(hook("update"), text.slice(0, 20)), "hooks/update is not the one init wrote"],
      [
        () => fs.writeFileSync(hook("update"), text.replace("hook update", "hook post-receive")),
        "hooks/update is not the one init wrote",
      ],
      [
        () => fs.writeFileSync(hook("update"), text.replace(STARGATE_PROGRAM[1]!, "/no/such")),
        "hooks/update runs /no/such, which is not there",
      ],
      [
        () => git(dir, "config", "core.hooksPath", "/elsewhere"),
        "core.hooksPath is /elsewhere, where git looks for hooks instead",
      ],
      [
        () => git(dir, "config", "receive.procReceiveRefs", "refs/heads"),
        "receive.procReceiveRefs is refs/heads, not refs",
      ],
      [() => git(dir, "config", "--unset", "receive.fsckObjects"), "receive.fsckObjects is not set, not true"],
    ];
    for (const [damage, fault] of damages) {
      damage();
      expect(faults(dir)).toEqual([fault]);
      if (fault.startsWith("core.hooksPath")) git(dir, "config", "--unset", "core.hooksPath");
      installHooks(dir, STARGATE_PROGRAM);
      expect(faults(dir)).toEqual([]);
    }
  });

  test("a hook of somebody else is left alone and said", () => {
    const dir = fresh();
    fs.writeFileSync(path.join(dir, "hooks/update"), "#!/bin/sh\nexit 0\n");
    expect(() => installHooks(dir, STARGATE_PROGRAM)).toThrow("is not ours");
  });
});
