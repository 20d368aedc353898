/** Lines of authorized_keys, whatever the policy holds. */

import { describe, expect, test } from "bun:test";
import { parsePolicy } from "../../src/kv/read-policy.ts";
import { authorizedKeys } from "../../src/stargate/authorized-keys.ts";
import { run } from "../support/signing.ts";
import { TestKey } from "../support/test-key.ts";

const NOW = Date.parse("2026-06-01");

describe("lines of authorized_keys", () => {
  const spec = { name: "kv.git", dir: "/srv/git/kv.git" };
  const [alice, bob] = [new TestKey("alice"), new TestKey("bob")];
  const policyWith = (writers: readonly unknown[], more: object = {}) =>
    parsePolicy(JSON.stringify({ version: 1, ...more, namespaces: { main: { writers } } }));

  test("a key, restricted to a command for the repositories that list it", async () => {
    const other = { name: "other.git", dir: "/srv/git/other.git" };
    const lines = await authorizedKeys(
      [
        { spec, policy: policyWith([alice.line, { key: bob.line, until: "2026-01-01" }]) },
        { spec: other, policy: policyWith([bob.line], { stargate: { admins: [alice.line] } }) },
      ],
      ["/usr/bin/git-kv-stargate"],
      NOW,
    );
    expect(lines).toHaveLength(2);
    const [, type, base64] = alice.line.match(/^(\S+) (\S+)/)!;
    const fingerprint = /SHA256:\S+(?=')/.exec(lines[0]!)![0];
    expect(lines[0]).toBe(
      `command="'/usr/bin/git-kv-stargate' 'shell' '--repo' 'kv.git=/srv/git/kv.git' '--repo' 'other.git=/srv/git/other.git' ` +
        `'--user' 'alice' '--key' '${fingerprint}'",restrict ${type} ${base64} alice`,
    );
    // Bob's time in the first one is over.
    expect(lines[1]).not.toContain("/srv/git/kv.git");
    const only = { type: type!, key: base64! };
    expect(await authorizedKeys([{ spec, policy: policyWith([alice.line, bob.line]) }], ["x"], NOW, only)).toHaveLength(
      1,
    );
    expect(
      await authorizedKeys([{ spec, policy: policyWith([alice.line]) }], ["x"], NOW, { ...only, type: "ssh-rsa" }),
    ).toEqual([]);
  });

  test("whatever a comment or a path holds, it stays in its place", async () => {
    const comments = [
      `x" ,command="id`,
      "a'; id; '",
      "$(id) `id`",
      "-o ProxyCommand",
      '\\" \\',
      "ü ñ",
      "#",
      "a".repeat(500),
    ];
    for (const comment of comments) {
      const key = new TestKey(comment);
      const dir = `/srv/o'dd "path" \\ $(id)/kv.git`;
      const [line, ...more] = await authorizedKeys(
        [{ spec: { name: "kv.git", dir }, policy: policyWith([key.line]) }],
        ["printf", "%s\\n"],
        NOW,
      );
      expect(more).toEqual([]);
      // As sshd reads it: to the next quote that is not escaped; then a shell runs it.
      const [, quoted, rest] = /^command="((?:\\"|[^"])*)",(.*)$/.exec(line!)!;
      expect(rest).toMatch(/^restrict ssh-ed25519 [A-Za-z0-9+/=]+ [A-Za-z0-9._@+:/=-]+$/);
      const words = run("sh", ["-c", quoted!.replaceAll('\\"', '"')])
        .trimEnd()
        .split("\n");
      expect(words.slice(0, 4)).toEqual(["shell", "--repo", `kv.git=${dir}`, "--user"]);
      expect(words[4]).toMatch(/^[A-Za-z0-9.@+][A-Za-z0-9._@+:/=-]{0,63}$/);
      expect(words.slice(5)).toEqual(["--key", expect.stringMatching(/^SHA256:/)]);
    }
    const newline = { name: "kv.git", dir: "/srv/a\nb" };
    await expect(authorizedKeys([{ spec: newline, policy: policyWith([alice.line]) }], ["x"], NOW)).rejects.toThrow(
      "control character",
    );
    // A comment with a line break is no key of a policy at all.
    expect(() => policyWith([`${alice.line}\nssh-ed25519 AAAA`])).toThrow();
  });
});
