/** The real git over smart HTTP, where a server remembers nothing between two requests. */

import { afterAll, expect, setDefaultTimeout, test } from "bun:test";
import { spawn } from "node:child_process";
import { fsck, git, gitInput } from "../../support/git.ts";
import { randomHistory } from "../../support/history.ts";
import { type HttpSessions, startHttpSessions } from "../../support/http-sessions.ts";
import { random } from "../../support/random.ts";
import { newServer } from "../../support/served.ts";
import { tempDir } from "../../support/temp.ts";
import { TEST_FORMAT } from "../../support/test-format.ts";

setDefaultTimeout(60_000);

const running: HttpSessions[] = [];
afterAll(() => {
  for (const server of running) server.stop();
});

function serve(dir: string): HttpSessions {
  const sessions = startHttpSessions(dir);
  running.push(sessions);
  return sessions;
}

/** Runs git without holding up this process, which is the server. */
async function gitAsync(dir: string, ...args: string[]): Promise<{ status: number; said: string }> {
  const child = spawn("git", args, { cwd: dir, env: { ...process.env, GIT_TERMINAL_PROMPT: "0" } });
  let said = "";
  child.stderr.on("data", (chunk) => {
    said += chunk;
  });
  const status = await new Promise<number>((resolve) => child.on("close", (code) => resolve(code ?? -1)));
  return { status, said };
}

const refsOf = (dir: string): string => git(dir, "for-each-ref", "--format=%(objectname) %(refname)");

for (const version of [0, 1, 2]) {
  test(`clone, fetch and push over HTTP, v${version}`, async () => {
    const rnd = random(`http v${version}`);
    const server = newServer(rnd.pick(["sha1", "sha256"]));
    const history = randomHistory(server, rnd);
    history.grow(15);
    const { url, posts } = serve(server);
    const client = `${tempDir("http")}/c`;
    const given = ["-c", `protocol.version=${version}`];
    expect(await gitAsync("/", ...given, "clone", "-q", "--mirror", url, client)).toEqual({ status: 0, said: "" });
    expect(refsOf(client)).toBe(refsOf(server));
    history.grow(10);
    expect(await gitAsync(client, ...given, "fetch", "-q")).toEqual({ status: 0, said: "" });
    expect(refsOf(client)).toBe(refsOf(server));

    // 600 commits the server never saw: the negotiation takes several requests.
    let stream = "";
    for (let n = 1; n <= 600; n++) {
      const from = n === 1 ? "from refs/heads/main^0\n" : "";
      stream += `commit refs/heads/own\ncommitter C <c@d> ${1_800_000_000 + n} +0000\ndata 1\nx\n${from}\n`;
    }
    gitInput(client, stream, "fast-import", "--quiet");
    const base = git(server, "rev-parse", "main");
    git(server, "update-ref", "refs/heads/main", git(server, "commit-tree", "-p", base, "-m", "new", `${base}^{tree}`));
    const before = posts();
    expect(await gitAsync(client, ...given, "fetch", "-q", "origin", "refs/heads/main:refs/heads/main")).toEqual({
      status: 0,
      said: "",
    });
    expect(git(client, "rev-parse", "main")).toBe(git(server, "rev-parse", "main"));
    expect(posts() - before).toBeGreaterThan(2);

    const push = ["push", "-q", "--atomic", "origin", "refs/heads/own:refs/heads/own", "refs/heads/own:refs/kv/own"];
    git(client, "config", "--unset", "remote.origin.mirror");
    expect(await gitAsync(client, ...given, ...push)).toEqual({ status: 0, said: "" });
    expect(git(server, "rev-parse", "own", "refs/kv/own")).toBe(git(client, "rev-parse", "own", "own"));
    // More than http.postBuffer: git asks first with an empty push, then sends in chunks.
    const noise = gitInput(client, random("noise").bytes(300_000), "hash-object", "-w", "--stdin");
    const tree = gitInput(client, `100644 blob ${noise}\tnoise\n`, "mktree");
    git(client, "update-ref", "refs/heads/noise", git(client, "commit-tree", "-m", "noise", tree));
    const chunked = ["-c", "http.postBuffer=65536", "push", "-q", "origin", "refs/heads/noise"];
    expect(await gitAsync(client, ...given, ...chunked)).toEqual({ status: 0, said: "" });
    expect(fsck(server)).toBe("");
  });
}

test("a refusal over HTTP reads as one over any other way", async () => {
  const server = newServer();
  randomHistory(server, random("http refusal")).grow(5);
  const { url } = serve(server);
  const client = `${tempDir("http")}/c`;
  expect((await gitAsync("/", "clone", "-q", "--mirror", url, client)).status).toBe(0);
  git(server, "config", "receive.denyDeletes", "true");
  const [branch = ""] = git(client, "for-each-ref", "--format=%(refname)", "refs/heads").split("\n");
  const { status, said } = await gitAsync(client, "push", url, `:${branch}`);
  expect(status).not.toBe(0);
  expect(said).toContain("(deletion prohibited)");
  const lost = await gitAsync(client, "fetch", "origin", "1".repeat(TEST_FORMAT.hexSize));
  expect(lost.said).toContain(`remote error: upload-pack: not our ref ${"1".repeat(TEST_FORMAT.hexSize)}`);
});
