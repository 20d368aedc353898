/** The HTTP door, asked by hand and by the real git. */

import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import * as fs from "node:fs";
import * as net from "node:net";
import * as path from "node:path";
import { gzipSync } from "node:zlib";
import { systemClock } from "../../src/clock.ts";
import { FLUSH, pktLine } from "../../src/gitwire/protocol/pkt-line.ts";
import { LIMITS } from "../../src/limits.ts";
import { fsck, git, tryGit } from "../support/git.ts";
import { gitAsync, tryGitAsync } from "../support/git-async.ts";
import { TestClient, TestStargate } from "../support/stargate.ts";
import { tempDir } from "../support/temp.ts";
import { TEST_FORMAT } from "../support/test-format.ts";

// Many processes of git, on machines that may be busy.
setDefaultTimeout(60_000);

let stargate: TestStargate;
let client: TestClient;
let token: string;

beforeAll(async () => {
  stargate = await TestStargate.start();
  token = stargate.token();
  client = new TestClient(stargate.dir, stargate.loginUrl(token));
  await client.set({ a: "1" });
});

afterAll(async () => {
  await stargate.stop();
});

function get(tail: string, headers: Record<string, string> = {}, method = "GET"): Promise<Response> {
  return fetch(`${stargate.url}${tail}`, { method, headers });
}

const bearer = (text: string): Record<string, string> => ({ Authorization: `Bearer ${text}` });
const basic = (text: string): Record<string, string> => ({
  Authorization: `Basic ${Buffer.from(text).toString("base64")}`,
});

describe("statuses", () => {
  test("401 with a realm without a token, or with one that is not ours, expired or revoked", async () => {
    const expired = stargate.token("write", "old", 1);
    for (const headers of [
      {},
      bearer("x"),
      basic(`me:${token}x`),
      basic(token),
      { Authorization: "Digest x" },
      bearer(expired),
      bearer("x".repeat(9_000)),
    ]) {
      const response = await get("/info/refs?service=git-receive-pack", headers as Record<string, string>);
      expect(response.status).toBe(401);
      expect(response.headers.get("www-authenticate")).toMatch(/^Basic realm="kv.git"/);
    }
  });

  test("Basic with any user name, Bearer in any case", async () => {
    for (const headers of [
      basic(`me:${token}`),
      basic(`:${token}`),
      bearer(token),
      { Authorization: `bEARER ${token}` },
    ]) {
      const response = await get("/info/refs?service=git-upload-pack", headers);
      expect(response.status).toBe(200);
      expect(response.headers.get("content-type")).toBe("application/x-git-upload-pack-advertisement");
      expect(response.headers.get("cache-control")).toContain("no-cache");
      expect(await response.text()).toStartWith("001e# service=git-upload-pack\n0000");
    }
  });

  test("403 where the scope does not do, and for the dumb protocol", async () => {
    const reader = bearer(stargate.token("read"));
    expect((await get("/info/refs?service=git-receive-pack", reader)).status).toBe(403);
    expect((await get("/info/refs?service=git-upload-pack", reader)).status).toBe(200);
    expect((await get("/info/refs", reader)).status).toBe(403);
    expect((await get("/info/refs?service=git-upload-archive", reader)).status).toBe(403);
  });

  test("404, 405, 415", async () => {
    const headers = bearer(token);
    expect((await get("/HEAD", headers)).status).toBe(404);
    expect((await get("/objects/info/packs", headers)).status).toBe(404);
    expect((await fetch(stargate.url.replace("kv.git", "other.git/info/refs"), { headers })).status).toBe(404);
    expect((await fetch(stargate.url.replace("/kv.git", "/..%2fkv.git/info/refs"), { headers })).status).toBe(404);
    expect((await fetch(stargate.url.replace("/kv.git", "/%zz/info/refs"), { headers })).status).toBe(404);
    const wrong = await get("/git-receive-pack", headers);
    expect(wrong.status).toBe(405);
    expect(wrong.headers.get("allow")).toBe("POST");
    const posted = await get("/info/refs?service=git-upload-pack", headers, "POST");
    expect([posted.status, posted.headers.get("allow")]).toEqual([405, "GET, HEAD"]);
    expect((await get("/git-upload-pack", headers, "HEAD")).status).toBe(405);
    expect((await get("/git-upload-pack", headers, "POST")).status).toBe(415);
    const type = { "Content-Type": "application/x-git-upload-pack-request", "Content-Encoding": "br" };
    expect((await get("/git-upload-pack", { ...headers, ...type }, "POST")).status).toBe(415);
  });

  test("HEAD is answered as GET, without the body", async () => {
    const target = "/info/refs?service=git-upload-pack";
    const [head, whole] = [await get(target, bearer(token), "HEAD"), await get(target, bearer(token))];
    for (const name of ["content-type", "cache-control", "pragma"]) {
      expect(head.headers.get(name)).toBe(whole.headers.get(name));
    }
    expect([head.status, await head.text()]).toEqual([200, ""]);
    expect((await get(target, {}, "HEAD")).status).toBe(401);
    expect((await get("/info/refs", bearer(token), "HEAD")).status).toBe(403);
  });

  test("a push without a token is sent away before its body is used", async () => {
    const { port, hostname } = new URL(stargate.url);
    const before = fs.readdirSync(path.join(stargate.dir, "objects")).length;
    const answer = await new Promise<string>((resolve, reject) => {
      const socket = net.connect(Number(port), hostname, () => {
        // A body of a terabyte is announced and never sent.
        socket.write(
          "POST /kv.git/git-receive-pack HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-git-receive-pack-request\r\n" +
            "Content-Length: 1099511627776\r\n\r\n0000",
        );
      });
      socket.once("data", (data) => {
        resolve(data.toString("latin1"));
        socket.destroy();
      });
      socket.once("error", reject);
    });
    expect(answer).toStartWith("HTTP/1.1 401");
    expect(fs.readdirSync(path.join(stargate.dir, "objects")).length).toBe(before);
  });

  test("the status, as JSON", async () => {
    expect((await get("/kv/status")).status).toBe(401);
    const status = (await (await get("/kv/status", bearer(token))).json()) as Record<string, unknown>;
    expect(status).toMatchObject({
      name: "kv.git",
      role: "leader",
      format: TEST_FORMAT.name,
      writable: true,
      mirror: null,
      policy: { drift: "same" },
      namespaces: [{ ns: "main", epoch: "e1", verify: "replay", requireSignedCommits: false }],
    });
  });

  test("a zipped request, and one that is not what it says", async () => {
    const request = Buffer.concat([
      pktLine("command=ls-refs"),
      pktLine(`object-format=${TEST_FORMAT.name}`),
      Buffer.from("0001"),
      FLUSH,
    ]);
    const headers = {
      ...bearer(token),
      "Content-Type": "application/x-git-upload-pack-request",
      "Git-Protocol": "version=2",
    };
    const post = (body: Uint8Array): Promise<Response> =>
      fetch(`${stargate.url}/git-upload-pack`, {
        method: "POST",
        headers: { ...headers, "Content-Encoding": "gzip" },
        body,
      });
    const zipped = await post(gzipSync(request));
    expect(await zipped.text()).toContain("refs/kv/main");
    const bad = await post(request);
    expect(await bad.text().catch(() => "broken off")).not.toContain("refs/kv/main");
    // The server is well.
    expect((await get("/kv/status", bearer(token))).status).toBe(200);
  });
});

describe("the real git", () => {
  test.each(["0", "1", "2"])("clones, fetches and pushes in protocol %s", async (version) => {
    const dir = tempDir("git");
    const run = (cwd: string, ...args: string[]): Promise<string> =>
      gitAsync(cwd, "-c", `protocol.version=${version}`, ...args);
    await run(dir, "clone", "-q", client.address, "w");
    const work = path.join(dir, "w");
    fs.writeFileSync(path.join(work, `f${version}`), "x");
    await run(work, "add", ".");
    await run(work, "commit", "-q", "-m", `v${version}`);
    await run(work, "tag", "-a", "-m", "t", `tag${version}`);
    await run(work, "push", "-q", "origin", "HEAD", `tag${version}`);
    expect(git(stargate.dir, "rev-parse", "HEAD")).toBe(git(work, "rev-parse", "HEAD"));
    expect(git(stargate.dir, "rev-parse", `tag${version}^{commit}`)).toBe(git(work, "rev-parse", "HEAD"));
    await client.set({ [`v${version}`]: "1" });
    await run(
      work,
      "fetch",
      "-q",
      "origin",
      "+refs/kv/*:refs/kv-remotes/origin/kv/*",
      "+refs/kv-index/*:refs/kv-remotes/origin/kv-index/*",
    );
    expect(git(work, "rev-parse", "refs/kv-remotes/origin/kv/main")).toBe(
      git(stargate.dir, "rev-parse", "refs/kv/main"),
    );
    await run(work, "push", "-q", "origin", `:tag${version}`);
    expect(tryGit(stargate.dir, ["rev-parse", "-q", "--verify", `tag${version}`]).status).not.toBe(0);
    expect(fsck(work)).toBe("");
  });

  test("pushes kv refs it was given, atomically, and is told why not", async () => {
    const dir = tempDir("git");
    const work = path.join(dir, "w");
    await gitAsync(dir, "clone", "-q", client.address, "w");
    const planned = client.plan({ bygit: "1" });
    await gitAsync(work, "fetch", "-q", "origin", "+refs/kv/*:refs/k/*", "+refs/kv-index/*:refs/ki/*");
    const pack = Buffer.concat([...planned.pack.finish().chunks()]);
    expect(tryGit(work, ["index-pack", "--stdin", "--fix-thin"], { input: pack }).status).toBe(0);
    const specs = planned.commands.map(({ ref, newOid }) => `${newOid}:${ref}`);
    const half = await tryGitAsync(work, ["push", "origin", specs[0]!]);
    expect(half.status).not.toBe(0);
    expect(half.stderr).toContain("REF_FORBIDDEN: a transaction moves refs/kv/main and refs/kv-index/main together");
    const whole = await tryGitAsync(work, ["push", "--atomic", "origin", ...specs]);
    expect(whole.stderr).toContain("-> refs/kv/main");
    expect(whole.status).toBe(0);
    expect(git(stargate.dir, "rev-parse", "refs/kv/main")).toBe(planned.ledger);
  });

  test("a large push comes in pieces, after git has tried an empty one", async () => {
    const dir = tempDir("git");
    const work = path.join(dir, "w");
    await gitAsync(dir, "clone", "-q", client.address, "w");
    const bytes = Buffer.from(crypto.getRandomValues(new Uint8Array(65_536)));
    fs.writeFileSync(
      path.join(work, "big"),
      Buffer.concat(Array.from({ length: 64 }, (_, i) => Buffer.concat([bytes, Buffer.from([i])]))),
    );
    git(work, "add", ".");
    git(work, "commit", "-q", "-m", "big");
    await gitAsync(work, "-c", "http.postBuffer=65536", "-c", "core.compression=0", "push", "-q", "origin", "HEAD");
    expect(git(stargate.dir, "rev-parse", "HEAD")).toBe(git(work, "rev-parse", "HEAD"));
  });

  // The hooks ask the daemon, which is this process: git must not run while it stands still.
  test("a stock git push by path touches kv refs by a transaction only, and branches freely", async () => {
    const dir = tempDir("git");
    const work = path.join(dir, "w");
    await gitAsync(dir, "clone", "-q", stargate.dir, "w");
    const run = await tryGitAsync(work, ["push", "origin", "HEAD:refs/kv/mine", "HEAD:refs/kv-index/mine"]);
    expect(run.status).not.toBe(0);
    expect(run.stderr).toContain("ATTESTATION_MISSING");
    expect(tryGit(stargate.dir, ["rev-parse", "-q", "--verify", "refs/kv/mine"]).status).not.toBe(0);
    await gitAsync(work, "push", "-q", "origin", "HEAD:refs/heads/bypath");
    expect(git(stargate.dir, "rev-parse", "refs/heads/bypath")).toBe(git(work, "rev-parse", "HEAD"));
  });
});

describe("reading without a token", () => {
  test("is off unless it is configured", async () => {
    const open = await TestStargate.start({ env: { STARGATE_ANONYMOUS_READ: "true" } });
    const dir = tempDir("git");
    await gitAsync(dir, "clone", "-q", open.url, "w");
    expect((await fetch(`${open.url}/info/refs?service=git-receive-pack`)).status).toBe(401);
    await open.stop();
    expect((await tryGitAsync(dir, ["ls-remote", stargate.url])).status).not.toBe(0);
  });
});

describe("start and stop", () => {
  test("a repository is served once; stopping frees it and takes the socket away", async () => {
    const one = await TestStargate.start();
    await expect(TestStargate.start({ dir: one.dir })).rejects.toMatchObject({ code: "LOCKED" });
    expect(fs.existsSync(path.join(one.dir, "stargate/socket"))).toBe(true);
    await one.stop();
    expect(fs.existsSync(path.join(one.dir, "stargate/socket"))).toBe(false);
    const two = await TestStargate.start({ dir: one.dir });
    await two.stop();
  });

  test("what is under way is finished", async () => {
    // Told to stop in the middle of the push: before that moment it would refuse a push that has only asked for the refs.
    let stopping: Promise<void> | undefined;
    const one = await TestStargate.start({
      onStage: (stage) => {
        if (stage === "synced") stopping = one.stop();
      },
    });
    const pusher = new TestClient(one.dir, one.loginUrl(one.token()));
    const values = Object.fromEntries(Array.from({ length: 300 }, (_, i) => [`k${i}`, `v${i}`]));
    const planned = pusher.plan(values);
    const outcome = [...(await pusher.push(planned)).refs.values()];
    expect(stopping).toBeDefined();
    await stopping;
    expect(outcome.map(({ ok }) => ok)).toEqual([true, true]);
    expect(git(one.dir, "rev-parse", "refs/kv/main")).toBe(planned.ledger);
  });
});

test("wrong tokens have to wait, and nobody learns from the wait; a token that was good before has not", async () => {
  let now = 1_767_322_800_000;
  const clock = { ...systemClock, now: () => now };
  const guarded = await TestStargate.start({ clock });
  try {
    const [known, fresh] = [guarded.token("read"), guarded.token("read")];
    const ask = (token: string): Promise<Response> =>
      fetch(`${guarded.url}/info/refs?service=git-upload-pack`, { headers: bearer(token) });
    expect((await ask(known)).status).toBe(200);
    for (let i = 0; i <= LIMITS.loginFailures; i++) expect((await ask("wrong")).status).toBe(401);
    for (const token of ["wrong", fresh]) {
      const response = await ask(token);
      expect([response.status, response.headers.get("retry-after")]).toEqual([429, "1"]);
    }
    expect((await ask(known)).status).toBe(200);
    // Nothing is learnt of a missing token either.
    expect((await fetch(`${guarded.url}/info/refs?service=git-upload-pack`)).status).toBe(401);
    const pulled = await tryGitAsync(tempDir(), ["ls-remote", guarded.loginUrl(fresh)]);
    expect(pulled.stderr.toString()).toContain("429");
    now += 1_000;
    expect((await ask("wrong")).status).toBe(401);
    expect((await ask(fresh)).headers.get("retry-after")).toBe("2");
    now += 2_000;
    expect((await ask(fresh)).status).toBe(200);
  } finally {
    await guarded.stop();
  }
});
