/** The hooks of a repository, run by our receive-pack and by git's own: they must be told the same, and be heard. */

import { expect, setDefaultTimeout, test } from "bun:test";
import * as fs from "node:fs";
import { fsck, git, tryGit } from "../../support/git.ts";
import { RECEIVE_PACK } from "../../support/git-server.ts";
import { both, commit, type Pair, pair, pushTo } from "../../support/push-pair.ts";
import { TEST_FORMAT } from "../../support/test-format.ts";

// Many processes of git and bun, on machines that may be busy.
setDefaultTimeout(90_000);

const EVERY = ["pre-receive", "update", "reference-transaction", "post-receive", "post-update"];

/** Says all that it is told and sees; refuses where the git folder holds a file `refuse-<name>`. */
const HOOK = `#!/bin/sh
name=\${0##*/}
# Git lets this one talk to whoever started the server.
[ $name != reference-transaction ] || exec >>transactions 2>&1
echo "$name $* in $GIT_DIR of $PWD" >&2
case $name in
  # Git tells of HEAD's log too, or not, by its version.
  reference-transaction) sed -e '/ HEAD$/d' -e 's/^/  read /';;
  *receive) sed 's/^/  read /';;
esac
echo "  options \${GIT_PUSH_OPTION_COUNT-none} \${GIT_PUSH_OPTION_0-} \${GIT_PUSH_OPTION_1-}"
echo "  quarantine \${GIT_QUARANTINE_PATH:+yes} \${GIT_OBJECT_DIRECTORY:+yes}" >&2
echo "  main is $(git rev-parse -q --verify refs/heads/main), new one $(git log -1 --format=%s NEW 2>&1)"
[ ! -e "refuse-$name" ]
`;

function install(given: Pair, names: readonly string[], folder = "hooks"): void {
  const text = HOOK.replace("NEW", git(given.client, "rev-parse", "main"));
  for (const server of [given.ours, given.theirs]) {
    fs.mkdirSync(`${server}/${folder}`, { recursive: true });
    for (const name of names) fs.writeFileSync(`${server}/${folder}/${name}`, text, { mode: 0o755 });
  }
}

function refuse(given: Pair, name: string): void {
  for (const server of [given.ours, given.theirs]) fs.writeFileSync(`${server}/refuse-${name}`, "");
}

/** What the reference-transaction hook was told, but for git 2.39's telling that it gave up packing what it deletes. */
const transactions = (server: string): string =>
  fs
    .readFileSync(`${server}/transactions`, "utf8")
    .replaceAll(server, "SERVER")
    .replace(/^reference-transaction aborted.*\n(?: .*\n)*/gm, "");

const leftovers = (server: string): string[] =>
  fs.readdirSync(`${server}/objects`).filter((name) => name.startsWith("tmp"));

for (const format of [TEST_FORMAT.name]) {
  test(`all five are told what git tells them, ${format}`, () => {
    const given = pair({ format });
    install(given, EVERY);
    const { said, status } = both(given, ["-oone=1", "-otwo", "main", "main:refs/heads/x", "main:refs/tags/t"]);
    expect(status).toBe(0);
    for (const name of EVERY.filter((each) => each !== "reference-transaction")) {
      expect(said).toContain(`remote: ${name} `);
    }
    expect(said).toContain("options 2 one=1 two");
    expect(said).toContain("quarantine yes yes");
    expect(both(given, ["--atomic", ":refs/heads/x", ":refs/tags/t", "main:refs/kv/y"]).status).toBe(0);
    expect(transactions(given.ours)).toBe(transactions(given.theirs));
    expect(transactions(given.ours).match(/^reference-transaction committed/gm)).toHaveLength(4);
    expect(leftovers(given.ours)).toEqual([]);
  });
}

test("pre-receive refuses a whole push, and nothing of it stays", () => {
  const given = pair();
  const before = fs.readdirSync(`${given.ours}/objects`, { recursive: true }).length;
  install(given, EVERY);
  refuse(given, "pre-receive");
  expect(both(given, ["main", "main:refs/heads/x"]).said).toContain("(pre-receive hook declined)");
  expect(fs.readdirSync(`${given.ours}/objects`, { recursive: true }).length).toBe(before);
});

test("update refuses one ref, or with it all of an atomic push; the others' hooks hear of what moved only", () => {
  const given = pair();
  install(given, EVERY);
  for (const server of [given.ours, given.theirs]) {
    fs.writeFileSync(`${server}/hooks/update`, '#!/bin/sh\necho "asked for $1"\n[ "$1" != refs/heads/x ]\n', {
      mode: 0o755,
    });
  }
  expect(both(given, ["--atomic", "main", "main:refs/heads/x", "main:refs/heads/y"]).said).toContain(
    "(atomic push failure)",
  );
  expect(both(given, ["main", "main:refs/heads/x", "main:refs/heads/y"]).said).toContain("(hook declined)");
});

test("core.hooksPath, a hook that may not be executed, and one that reads nothing", () => {
  const given = pair();
  install(given, ["pre-receive"], "elsewhere");
  install(given, ["update"]);
  for (const server of [given.ours, given.theirs]) {
    git(server, "config", "core.hooksPath", "elsewhere");
    fs.writeFileSync(`${server}/elsewhere/post-receive`, "#!/bin/sh\nexec 0<&-\necho deaf\nexit 3\n", { mode: 0o755 });
    fs.writeFileSync(`${server}/elsewhere/post-update`, "#!/bin/sh\necho never\n", { mode: 0o644 });
  }
  const tags = Array.from({ length: 300 }, (_, i) => `main:refs/tags/t${i}`);
  const { said, status } = both(given, ["main", ...tags], (text) =>
    text.replace(/^hint: .*\n/gm, "").replace(/^remote: hint: .*\n/gm, ""),
  );
  expect(status).toBe(0);
  expect(said).toContain("remote: pre-receive ");
  expect(said).toContain("remote: deaf");
  expect(said).not.toContain("update refs");
});

test("reference-transaction stops a push when it is asked, and is told of the end", () => {
  const given = pair();
  const text = '#!/bin/sh\necho "told: $1"\n[ "$1" = aborted ]\n';
  fs.writeFileSync(`${given.ours}/hooks/reference-transaction`, text, { mode: 0o755 });
  const before = git(given.ours, "for-each-ref");
  // Git's own program dies of it, so that its client learns nothing for sure.
  const ours = pushTo(given.ours, given.client, [`--receive-pack=${RECEIVE_PACK}`], ["main", "main:refs/heads/x"]);
  expect(ours.status).toBe(1);
  expect(ours.said).toContain("remote: error: ref updates aborted by hook");
  expect(ours.said).toMatch(/remote: told: prepared[\s\S]*remote: told: aborted/);
  expect(ours.said.match(/\(failed to update ref\)/g)).toHaveLength(2);
  expect(git(given.ours, "for-each-ref")).toBe(before);
  expect(leftovers(given.ours)).toEqual([]);
});

test("a worktree is brought up to date by its own hook, or the push declined by it", () => {
  const given = pair({ bare: false });
  for (const server of [given.ours, given.theirs]) git(server, "config", "receive.denyCurrentBranch", "updateInstead");
  for (const server of [given.ours, given.theirs]) {
    const text = '#!/bin/sh\necho "to $1" && git read-tree -u -m HEAD "$1" && [ ! -e refuse ]\n';
    fs.writeFileSync(`${server}/.git/hooks/push-to-checkout`, text, { mode: 0o755 });
  }
  // Git leaves what this hook prints to whoever started the server.
  const words = (text: string): string => text.replace(/^(?:remote: )?to .*\n/gm, "");
  expect(both(given, ["main"], words).status).toBe(0);
  expect(git(given.ours, "status", "--porcelain")).toBe("");
  expect(fs.readFileSync(`${given.ours}/b`, "utf8")).toBe("two\n");
  commit(given.client, "c", "three");
  for (const server of [given.ours, given.theirs]) fs.writeFileSync(`${server}/.git/refuse`, "");
  expect(both(given, ["main"], words).said).toContain("(push-to-checkout hook declined)");
});

test("what a hook prints comes whole, in order, and no text of a push is run", () => {
  const given = pair();
  const text = '#!/bin/sh\nseq 1 3000\necho "last: $1" >&2\n';
  for (const server of [given.ours, given.theirs]) {
    fs.writeFileSync(`${server}/hooks/update`, text, { mode: 0o755 });
  }
  const { said } = both(given, ["main:refs/heads/$(touch$IFS`x`);`id`&&'"]);
  expect(said).toContain("last: refs/heads/$(touch");
  expect(said).toContain("remote: 2999");
  expect(fsck(given.ours)).toBe("");
  expect(tryGit(given.ours, ["rev-parse", "x"]).status).not.toBe(0);
});
