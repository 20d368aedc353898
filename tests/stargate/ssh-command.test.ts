/** What a client asks for over SSH, quoted as git quotes it. */

import { expect, test } from "bun:test";
import { parseSshCommand } from "../../src/stargate/ssh-command.ts";
import { random } from "../support/random.ts";
import { codeOf } from "../support/streams.ts";
import { tempDir } from "../support/temp.ts";

/** Git's sq_quote_buf. */
const quote = (text: string): string => `'${text.replace(/['!]/g, (each) => `'\\${each}'`)}'`;

test("every path git quotes comes back as it was, and a shell agrees", () => {
  const { int, pick } = random("ssh command");
  const parts = ["a", "/", " ", "'", "!", "\\", '"', "$", "`", ";", "|", "&", "~", "..", "ü", "-", "*", "(", "#"];
  const paths = Array.from({ length: 60 }, () => Array.from({ length: 1 + int(8) }, () => pick(parts)).join(""));
  for (const path of paths) {
    expect(parseSshCommand(`git-receive-pack ${quote(path)}`)).toEqual({ service: "git-receive-pack", repo: path });
  }
  const script = `printf '%s\\0' ${paths.map(quote).join(" ")}`;
  const shell = Bun.spawnSync(["sh", "-c", script]).stdout.toString();
  expect(shell.split("\0").slice(0, -1)).toEqual(paths);
});

test("git's own two spellings, and the status", () => {
  expect(parseSshCommand("git upload-pack 'a.git'")).toEqual({ service: "git-upload-pack", repo: "a.git" });
  expect(parseSshCommand("git-upload-pack a.git")).toEqual({ service: "git-upload-pack", repo: "a.git" });
  expect(parseSshCommand("git-kv-stargate status 'a'")).toEqual({ service: "status", repo: "a" });
});

test("what git shell takes is taken, and the same repository is meant; besides that only a bare word, and more spaces", () => {
  const commands = ["git-upload-pack 'x'", "git upload-pack 'x'", "git-receive-pack 'x'", "git receive-pack 'x'"];
  commands.push(
    "git-upload-pack 'a b'",
    "git-upload-pack 'a'\\''b'",
    "git-upload-pack 'a'\\!'b'",
    "git-upload-pack '/x'",
  );
  commands.push("git-upload-pack x", "git-upload-pack  'x'", "git-upload-pack '-x'", "git-upload-pack 'x' ");
  commands.push("git-upload-pack 'a''b'", "git-upload-pack ''", "git-upload-pack", "git-upload-pack 'x' 'y'");
  commands.push("git-upload-pack\t'x'", "GIT-UPLOAD-PACK 'x'", "git  upload-pack 'x'", " git-upload-pack 'x'");
  commands.push(
    "/usr/bin/git-upload-pack 'x'",
    "git-upload-pack 'x'; id",
    'git-upload-pack "x"',
    "git-upload-pack 'x",
    "id",
  );
  const more: string[] = [];
  for (const command of commands) {
    const run = Bun.spawnSync(["git", "shell", "-c", command], { stdin: Buffer.from("0000"), cwd: tempDir("shell") });
    const theirs = /'(.*)' does not appear to be a git repository/s.exec(run.stderr.toString())?.[1];
    const ours = repoOf(command);
    if (theirs !== undefined && theirs !== "") expect(ours).toBe(theirs);
    else if (ours !== undefined) more.push(command);
  }
  // A name that begins with a dash is a name: it becomes no argument of any program.
  expect(more).toEqual(["git-upload-pack x", "git-upload-pack  'x'", "git-upload-pack '-x'"]);
});

function repoOf(command: string): string | undefined {
  try {
    return parseSshCommand(command).repo;
  } catch {
    return undefined;
  }
}

test("anything else is refused: another program, no argument, several, open quotes, what only a shell would understand", async () => {
  for (const text of [
    "",
    "git-upload-pack",
    "git-upload-pack ",
    "git-upload-pack ''",
    "git-upload-pack 'a' 'b'",
    "git-upload-pack a b",
    "git-upload-pack --strict 'a'",
    "git-upload-pack 'a",
    "git-upload-pack 'a'b",
    "git-upload-pack 'a'\\''",
    "git-upload-pack 'a'\\;'b'",
    'git-upload-pack "a"',
    "git-upload-pack a;id",
    "git-upload-pack $(id)",
    "git-upload-pack 'a'\n",
    "git-upload-pack 'a\nb'",
    "git-upload-pack 'a\0b'",
    "git-upload-archive 'a'",
    "xgit-upload-pack 'a'",
    "git-kv-stargate serve 'a'",
    "id",
    `git-upload-pack '${"a".repeat(5_000)}'`,
  ]) {
    expect([text, await codeOf(() => parseSshCommand(text))]).toEqual([text, "FORBIDDEN"]);
  }
});
