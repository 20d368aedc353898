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

  /** As init does. */
  const install = (dir: string, replace: boolean): void => {
    const repo = openRepository(dir);
    repo.close();
    installHooks(dir, STARGATE_PROGRAM, { config: repo.config, replace });
  };

  test("hooks of somebody else are left alone and said, and kept under another name where they are to be replaced", () => {
    const dir = fresh();
    const foreign = "#!/bin/sh\nexit 0\n";
    const hook = (name: string): string => path.join(dir, "hooks", name);
    fs.writeFileSync(hook("update"), foreign);
    fs.rmSync(hook("pre-receive"));
    expect(() => install(dir, false)).toThrow(`${hook("update")} is not ours`);
    expect(fs.existsSync(hook("pre-receive"))).toBe(false);
    install(dir, true);
    expect(faults(dir)).toEqual([]);
    expect(fs.readFileSync(hook("update.replaced"), "utf8")).toBe(foreign);
    fs.writeFileSync(hook("update"), "#!/bin/sh\nexit 1\n");
    install(dir, true);
    expect(fs.readFileSync(hook("update.replaced"), "utf8")).toBe(foreign);
    expect(fs.readFileSync(hook("update.replaced.2"), "utf8")).toContain("exit 1");
  });

  test("a folder of hooks elsewhere is refused, or replaced by the repository's own", () => {
    const dir = fresh();
    git(dir, "config", "core.hooksPath", "/elsewhere");
    expect(() => install(dir, false)).toThrow("core.hooksPath is /elsewhere");
    install(dir, true);
    expect(faults(dir)).toEqual([]);
    expect(git(dir, "config", "core.hooksPath")).toBe("hooks");
  });

  test("what a user's own settings say before ours does no harm", () => {
    const dir = fresh();
    const config = path.join(dir, "config");
    const ours = fs.readFileSync(config, "utf8");
    const others = "[receive]\n\tprocReceiveRefs = refs/for\n\tfsckObjects = false\n\tunpackLimit = 100\n";
    fs.writeFileSync(config, others + ours);
    expect(faults(dir)).toEqual([]);
    fs.writeFileSync(config, `${ours}[receive]\n\tfsckObjects = false\n`);
    expect(faults(dir)).toEqual(["receive.fsckObjects is true, false, not true"]);
  });
});
