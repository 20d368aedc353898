/** Which refs may be pushed together, and what an SSH client may ask for. */

import { describe, expect, test } from "bun:test";
import { KvError } from "../../src/errors.ts";
import { parseExpectations } from "../../src/stargate/expectation.ts";
import { classifyPush, transactionCommands } from "../../src/stargate/push-kind.ts";
import { parseSshCommand } from "../../src/stargate/ssh-command.ts";
import { TEST_FORMAT } from "../support/test-format.ts";

const OID = "1".repeat(TEST_FORMAT.hexSize);

function kindOf(...refs: string[]): string {
  try {
    const commands = refs.map((text) => {
      const [ref = "", deleted] = text.split(" ");
      return { ref, oldOid: OID, newOid: deleted === "deleted" ? TEST_FORMAT.zeroOid : OID };
    });
    const kind = classifyPush(commands, TEST_FORMAT);
    if (kind.kind !== "transaction") return kind.kind;
    const moved = transactionCommands(kind).map(({ ref }) => ref);
    return `transaction ${kind.ns} ${moved.join(" ")}`;
  } catch (error) {
    expect(error).toBeInstanceOf(KvError);
    return (error as KvError).code;
  }
}

describe("kinds of push", () => {
  test("a transaction is the two refs of one namespace, in any order", () => {
    const expected = "transaction main refs/kv/main refs/kv-index/main";
    expect(kindOf("refs/kv/main", "refs/kv-index/main")).toBe(expected);
    expect(kindOf("refs/kv-index/main", "refs/kv/main")).toBe(expected);
  });

  test("with a chunk ref as the third, where it adds pieces", () => {
    const expected = "transaction main refs/kv/main refs/kv-index/main refs/kv-chunks/main@e1";
    expect(kindOf("refs/kv/main", "refs/kv-index/main", "refs/kv-chunks/main@e1")).toBe(expected);
    expect(kindOf("refs/kv-chunks/main@e1", "refs/kv-index/main", "refs/kv/main")).toBe(expected);
  });

  test.each([
    [["refs/kv/main"]],
    [["refs/kv-index/main"]],
    [["refs/kv/main", "refs/kv-index/other"]],
    [["refs/kv/a", "refs/kv-index/a", "refs/kv/b", "refs/kv-index/b"]],
    [["refs/kv/main", "refs/kv-index/main", "refs/heads/main"]],
    [["refs/kv/main", "refs/kv-index/main", "refs/kv-policy/current"]],
    [["refs/kv/main", "refs/kv-index/main", "refs/kv-mirror/main"]],
    [["refs/kv-chunks/main@e1"]],
    [["refs/kv/main", "refs/kv-chunks/main@e1"]],
    [["refs/kv/main", "refs/kv-index/main", "refs/kv-chunks/other@e1"]],
    [["refs/kv/main", "refs/kv-index/main", "refs/kv-chunks/main@e1", "refs/kv-chunks/main@e2"]],
    [["refs/kv/main", "refs/kv-index/main", "refs/kv-chunks/main@e1 deleted"]],
    [["refs/kv/main", "refs/kv-index/main", "refs/kv-chunks/main"]],
    [["refs/kv/main", "refs/kv-index/main", "refs/kv-chunks/main@-x"]],
    [["refs/kv/main deleted", "refs/kv-index/main deleted"]],
    [["refs/kv-policy/current deleted"]],
    [["refs/kv-mirror/main"]],
    [["refs/kv-archive/main@e1"]],
    [["refs/kv-epoch/main"]],
    [["refs/kv-remotes/origin/kv/main"]],
    [["refs/kv-policy"]],
    [["refs/kv"]],
    [["refs/kv/main/deeper"]],
    [["refs/kv/UPPER"]],
    [["refs/kv-other/x"]],
    [["refs/KV/main"]],
    [["refs/pull/1/head"]],
  ])("%p is forbidden", (refs) => {
    expect(kindOf(...refs)).toBe("REF_FORBIDDEN");
  });

  test("the policy goes alone; everything else is ordinary", () => {
    expect(kindOf("refs/kv-policy/current")).toBe("policy");
    expect(kindOf("refs/heads/main", "refs/tags/v1 deleted", "refs/notes/x", "refs/kvetch/x")).toBe("ordinary");
  });
});

describe("expectations", () => {
  const codeOf = (option: string): string => {
    try {
      return parseExpectations([option], TEST_FORMAT)
        .map(({ kind }) => kind)
        .join();
    } catch (error) {
      return (error as KvError).code;
    }
  };

  test("are read, or refused where they are malformed; other options are not ours", () => {
    expect(codeOf(`expect-tree=${OID}`)).toBe("tree");
    expect(codeOf(`expect-blob=user%3A1:${OID}`)).toBe("blob");
    expect(codeOf("expect-blob=a:0")).toBe("blob");
    expect(codeOf("ci.skip")).toBe("");
    for (const bad of [
      "expect-tree=",
      "expect-tree=12",
      "expect-blob=a",
      `expect-blob=:${OID}`,
      "expect-blob=%zz:0",
      "expect-rev=1",
      "expected=1",
    ]) {
      expect(codeOf(bad)).toBe("INPUT_INVALID");
    }
  });
});

describe("commands over ssh", () => {
  test.each([
    ["git-receive-pack '/srv/kv.git'", "git-receive-pack", "/srv/kv.git"],
    ["git receive-pack 'org/kv.git'", "git-receive-pack", "org/kv.git"],
    ["git-upload-pack kv.git", "git-upload-pack", "kv.git"],
    ["git upload-pack 'it'\\''s'", "git-upload-pack", "it's"],
    ["git-upload-pack 'wow'\\!''", "git-upload-pack", "wow!"],
    ["git-upload-pack '$(id)'", "git-upload-pack", "$(id)"],
    ["git-kv-stargate status 'kv.git'", "status", "kv.git"],
  ])("%s", (text, service, repo) => {
    expect(parseSshCommand(text)).toEqual({ service, repo } as ReturnType<typeof parseSshCommand>);
  });

  test.each([
    "",
    "sh",
    "git-upload-pack",
    "git-upload-pack ''",
    "git-upload-pack 'a' 'b'",
    "git-upload-pack a b",
    "git-upload-pack 'a'; id",
    "git-upload-pack 'a' && id",
    "git-upload-pack $(id)",
    "git-upload-pack `id`",
    "git-upload-pack 'a",
    "git-upload-pack 'a'b",
    'git-upload-pack "a"',
    "git-upload-pack 'a\nb'",
    "git-upload-archive 'a'",
    "git-kv-stargate serve 'a'",
    "git-kv-stargate token add 'a'",
    " git-upload-pack 'a'",
    `git-upload-pack '${"a".repeat(5000)}'`,
  ])("%j is refused", (text) => {
    expect(() => parseSshCommand(text)).toThrow(KvError);
  });
});
